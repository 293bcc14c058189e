/* Elementary functions as plain arithmetic, so that the loop vectoriser sees nothing but multiplications and
 * additions. exp and log follow the Cephes library's single-precision methods (Moshier 1989, "Methods and Programs for
 * Mathematical Functions", chapters 5 and 6): about 2 units in the last place; infinities, zero and NaN as in C. */
#include "emit_internal.h"

#include <math.h>

static LLVMValueRef number(emitter *e, double value) {
    return LLVMConstReal(e->f32, value);
}

static LLVMValueRef word(emitter *e, uint32_t value) {
    return LLVMConstInt(e->i32, value, false);
}

/* a * b + c */
static LLVMValueRef multiply_add(emitter *e, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c) {
    LLVMValueRef three[3] = {a, b, c};
    return emit_intrinsic(e, "llvm.fmuladd.f32", three, 3);
}

static bool is_product(LLVMValueRef x) {
    return LLVMIsAInstruction(x) && LLVMGetInstructionOpcode(x) == LLVMFMul;
}

/* Which product is rounded together with the sum is said here, not left to LLVM: it may choose differently in a vector
 * and in the rest of a loop, and where that begins depends on the number of threads. */
LLVMValueRef emit_sum(emitter *e, LLVMValueRef a, LLVMValueRef b) {
    if (is_product(a))
        return multiply_add(e, LLVMGetOperand(a, 0), LLVMGetOperand(a, 1), b);
    if (is_product(b))
        return multiply_add(e, LLVMGetOperand(b, 0), LLVMGetOperand(b, 1), a);
    return LLVMBuildFAdd(e->builder, a, b, "");
}

LLVMValueRef emit_difference(emitter *e, LLVMValueRef a, LLVMValueRef b) {
    LLVMBuilderRef l = e->builder;
    if (is_product(a))
        return multiply_add(e, LLVMGetOperand(a, 0), LLVMGetOperand(a, 1), LLVMBuildFNeg(l, b, ""));
    if (is_product(b))
        return multiply_add(e, LLVMBuildFNeg(l, LLVMGetOperand(b, 0), ""), LLVMGetOperand(b, 1), a);
    return LLVMBuildFSub(l, a, b, "");
}

static LLVMValueRef bits(emitter *e, LLVMValueRef x) {
    return LLVMBuildBitCast(e->builder, x, e->i32, "");
}

static LLVMValueRef from_bits(emitter *e, LLVMValueRef x) {
    return LLVMBuildBitCast(e->builder, x, e->f32, "");
}

static LLVMValueRef choose(emitter *e, LLVMRealPredicate p, LLVMValueRef a, LLVMValueRef b, LLVMValueRef yes,
                           LLVMValueRef no) {
    return LLVMBuildSelect(e->builder, LLVMBuildFCmp(e->builder, p, a, b, ""), yes, no, "");
}

/* 2^n for -126 <= n <= 127 */
static LLVMValueRef power_of_two(emitter *e, LLVMValueRef n) {
    return from_bits(e, LLVMBuildShl(e->builder, LLVMBuildAdd(e->builder, n, word(e, 127), ""), word(e, 23), ""));
}

static LLVMValueRef polynomial(emitter *e, LLVMValueRef x, const double *coefficient, unsigned count) {
    LLVMValueRef y = number(e, coefficient[0]);
    for (unsigned i = 1; i < count; i++)
        y = multiply_add(e, y, x, number(e, coefficient[i]));
    return y;
}

static LLVMValueRef exponential(emitter *e, LLVMValueRef x) {
    static const double c[] = {1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3,
                               4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1};
    const double magic    = 12582912.0; /* 1.5 * 2^23: adding it rounds to an integer, which is then in the low bits */
    LLVMBuilderRef b      = e->builder;
    x                     = choose(e, LLVMRealOLT, x, number(e, -104), number(e, -104), x);
    x                     = choose(e, LLVMRealOGT, x, number(e, 89), number(e, 89), x);
    LLVMValueRef shifted  = multiply_add(e, x, number(e, 1.44269504088896341), number(e, magic));
    LLVMValueRef n        = LLVMBuildFSub(b, shifted, number(e, magic), "");
    LLVMValueRef exponent = LLVMBuildSub(b, bits(e, shifted), word(e, 0x4B400000u), "");
    LLVMValueRef r        = multiply_add(e, n, number(e, -0.693359375), x);
    r                     = multiply_add(e, n, number(e, 2.12194440e-4), r);
    LLVMValueRef y        = polynomial(e, r, c, 6);
    y                     = multiply_add(e, y, LLVMBuildFMul(b, r, r, ""), LLVMBuildFAdd(b, r, number(e, 1), ""));
    LLVMValueRef half     = LLVMBuildAShr(b, exponent, word(e, 1), "");
    LLVMValueRef other    = LLVMBuildSub(b, exponent, half, "");
    return LLVMBuildFMul(b, LLVMBuildFMul(b, y, power_of_two(e, half), ""), power_of_two(e, other), "");
}

static LLVMValueRef logarithm(emitter *e, LLVMValueRef x) {
    static const double c[] = {7.0376836292e-2,  -1.1514610310e-1, 1.1676998740e-1,  -1.2420140846e-1, 1.4249322787e-1,
                               -1.6668057665e-1, 2.0000714765e-1,  -2.4999993993e-1, 3.3333331174e-1};
    LLVMBuilderRef b        = e->builder;
    LLVMValueRef tiny       = LLVMBuildFCmp(b, LLVMRealOLT, x, number(e, 0x1p-126), "");
    LLVMValueRef scaled     = LLVMBuildSelect(b, tiny, LLVMBuildFMul(b, x, number(e, 0x1p23), ""), x, "");
    LLVMValueRef raw        = bits(e, scaled);
    LLVMValueRef exponent =
        LLVMBuildSub(b, LLVMBuildAnd(b, LLVMBuildLShr(b, raw, word(e, 23), ""), word(e, 255), ""), word(e, 126), "");
    LLVMValueRef n = LLVMBuildSIToFP(b, exponent, e->f32, "");
    n              = LLVMBuildSelect(b, tiny, LLVMBuildFSub(b, n, number(e, 23), ""), n, "");
    LLVMValueRef m =
        from_bits(e, LLVMBuildOr(b, LLVMBuildAnd(b, raw, word(e, 0x7fffffu), ""), word(e, 0x3f000000u), ""));
    LLVMValueRef low = LLVMBuildFCmp(b, LLVMRealOLT, m, number(e, 0.70710678118654752), "");
    n                = LLVMBuildSelect(b, low, LLVMBuildFSub(b, n, number(e, 1), ""), n, "");
    LLVMValueRef r   = LLVMBuildFSub(b, LLVMBuildSelect(b, low, LLVMBuildFAdd(b, m, m, ""), m, ""), number(e, 1), "");
    LLVMValueRef square = LLVMBuildFMul(b, r, r, "");
    LLVMValueRef y      = LLVMBuildFMul(b, LLVMBuildFMul(b, polynomial(e, r, c, 9), r, ""), square, "");
    y                   = multiply_add(e, n, number(e, -2.12194440e-4), y);
    y                   = multiply_add(e, square, number(e, -0.5), y);
    LLVMValueRef result = multiply_add(e, n, number(e, 0.693359375), LLVMBuildFAdd(b, r, y, ""));
    result              = choose(e, LLVMRealOEQ, x, number(e, INFINITY), x, result);
    result              = choose(e, LLVMRealOEQ, x, number(e, 0), number(e, -INFINITY), result);
    result              = choose(e, LLVMRealOLT, x, number(e, 0), number(e, NAN), result);
    return choose(e, LLVMRealUNO, x, x, x, result);
}

/* log(1+x) from log: Goldberg 1991, "What every computer scientist should know", theorem 4. */
static LLVMValueRef logarithm_of_one_plus(emitter *e, LLVMValueRef x) {
    LLVMBuilderRef b    = e->builder;
    LLVMValueRef sum    = LLVMBuildFAdd(b, x, number(e, 1), "");
    LLVMValueRef seen   = LLVMBuildFSub(b, sum, number(e, 1), "");
    LLVMValueRef plain  = logarithm(e, sum);
    LLVMValueRef better = LLVMBuildFMul(b, plain, LLVMBuildFDiv(b, x, seen, ""), "");
    LLVMValueRef result = choose(e, LLVMRealOEQ, seen, number(e, 0), x, better);
    result              = choose(e, LLVMRealOEQ, sum, number(e, 0), plain, result);
    return choose(e, LLVMRealOEQ, sum, number(e, INFINITY), sum, result);
}

LLVMValueRef emit_external(emitter *e, const char *name, LLVMTypeRef result, LLVMTypeRef *types,
                           LLVMValueRef *arguments, unsigned count) {
    LLVMTypeRef type      = LLVMFunctionType(result, types, count, false);
    LLVMValueRef function = LLVMGetNamedFunction(e->module, name);
    if (!function)
        function = LLVMAddFunction(e->module, name, type);
    return LLVMBuildCall2(e->builder, type, function, arguments, count, "");
}

LLVMValueRef emit_intrinsic(emitter *e, const char *name, LLVMValueRef *arguments, unsigned count) {
    LLVMTypeRef types[3];
    for (unsigned i = 0; i < count; i++)
        types[i] = LLVMTypeOf(arguments[i]);
    return emit_external(e, name, LLVMTypeOf(arguments[0]), types, arguments, count);
}

LLVMValueRef emit_math(emitter *e, node_op op, LLVMValueRef a, LLVMValueRef b) {
    LLVMValueRef both[2] = {a, b};
    switch (op) {
    case NODE_EXP:
        return exponential(e, a);
    case NODE_LOG:
        return logarithm(e, a);
    case NODE_LOG1P:
        return logarithm_of_one_plus(e, a);
    case NODE_SQRT:
        return emit_intrinsic(e, "llvm.sqrt.f32", both, 1);
    case NODE_ABS:
        return emit_intrinsic(e, "llvm.fabs.f32", both, 1);
    case NODE_FLOOR:
        return emit_intrinsic(e, "llvm.floor.f32", both, 1);
    case NODE_SIN:
        return emit_intrinsic(e, "sinf", both, 1);
    case NODE_COS:
        return emit_intrinsic(e, "cosf", both, 1);
    case NODE_TANH:
        return emit_intrinsic(e, "tanhf", both, 1);
    case NODE_ERF:
        return emit_intrinsic(e, "erff", both, 1);
    default:
        return emit_intrinsic(e, "powf", both, 2);
    }
}
