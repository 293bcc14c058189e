/* Optimisation, code in memory and in files. */
#include "compile.h"

#include "emit_internal.h"
#include "utf8.h"

#include <ctype.h>
#include <dnnl.h>
#include <errno.h>
#include <llvm-c/Analysis.h>
#include <llvm-c/Error.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/Orc.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <omp.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
extern void GOMP_parallel(void (*)(void *), void *, unsigned, unsigned);

typedef int entry_point(const void *const *tensors, void *const *outputs, void *workspace, uint64_t seed);

struct compiled {
    LLVMOrcLLJITRef jit;
    entry_point *entry;
    uint64_t workspace_bytes;
    void *workspace;
};

/* A module in machine code's last form before it is one. */
typedef struct built {
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMTargetMachineRef machine;
    uint64_t workspace;
} built;

static void discard(built *b) {
    if (b->module)
        LLVMDisposeModule(b->module);
    if (b->machine)
        LLVMDisposeTargetMachine(b->machine);
    if (b->context)
        LLVMContextDispose(b->context);
}

static bool fail(char *error, size_t size, const char *what, const char *why) {
    snprintf(error, size, "%s: %s", what, why);
    for (char *c = error; *c; c++)
        if (*c == '\n')
            *c = ' ';
    return false;
}

static bool take_error(LLVMErrorRef problem, const char *what, char *error, size_t size) {
    if (!problem)
        return true;
    char *text = LLVMGetErrorMessage(problem);
    fail(error, size, what, text);
    LLVMDisposeErrorMessage(text);
    return false;
}

static bool open_machine(built *b, const compile_options *options, char **cpu, char **features, char *error,
                         size_t size) {
    LLVMInitializeNativeTarget();
    LLVMInitializeNativeAsmPrinter();
    LLVMInitializeNativeAsmParser();
    char *triple = LLVMGetDefaultTargetTriple(), *text = NULL;
    LLVMTargetRef target;
    *cpu      = options->cpu ? strdup(options->cpu) : LLVMGetHostCPUName();
    *features = options->features ? strdup(options->features) : options->cpu ? strdup("") : LLVMGetHostCPUFeatures();
    if (LLVMGetTargetFromTriple(triple, &target, &text)) {
        fail(error, size, "no LLVM target", text);
        LLVMDisposeMessage(text);
    } else {
        b->machine = LLVMCreateTargetMachine(target, triple, *cpu, *features, LLVMCodeGenLevelAggressive, LLVMRelocPIC,
                                             LLVMCodeModelDefault);
    }
    LLVMDisposeMessage(triple);
    return b->machine != NULL;
}

static bool build(schedule *s, const compile_options *options, const char *symbol, built *b, char *error, size_t size) {
    char *cpu = NULL, *features = NULL, *text = NULL;
    *b      = (built){0};
    bool ok = open_machine(b, options, &cpu, &features, error, size);
    if (ok) {
        b->workspace = s->workspace;
        b->context   = LLVMContextCreate();
        b->module    = emit_program(s, b->context, symbol, cpu, features);
        char *triple = LLVMGetTargetMachineTriple(b->machine);
        LLVMSetTarget(b->module, triple);
        LLVMDisposeMessage(triple);
        LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(b->machine);
        LLVMSetModuleDataLayout(b->module, layout);
        LLVMDisposeTargetData(layout);
        if (LLVMVerifyModule(b->module, LLVMReturnStatusAction, &text)) {
            if (getenv("ATTNC_DEBUG"))
                LLVMDumpModule(b->module);
            ok = fail(error, size, "the emitted code is inconsistent, which is an error of the compiler", text);
        }
        LLVMDisposeMessage(text);
    }
    if (ok) {
        LLVMPassBuilderOptionsRef passes = LLVMCreatePassBuilderOptions();
        LLVMPassBuilderOptionsSetLoopVectorization(passes, true);
        LLVMPassBuilderOptionsSetSLPVectorization(passes, false);
        LLVMPassBuilderOptionsSetLoopUnrolling(passes, false);
        ok = take_error(LLVMRunPasses(b->module, "default<O3>", b->machine, passes), "LLVM", error, size);
        LLVMDisposePassBuilderOptions(passes);
    }
    if (ok) {
        if (LLVMVerifyModule(b->module, LLVMReturnStatusAction, &text))
            ok = fail(error, size, "the optimised code is inconsistent", text);
        LLVMDisposeMessage(text);
    }
    free(cpu);
    free(features);
    if (!ok)
        discard(b);
    return ok;
}

static bool build_graph(graph *g, const compile_options *options, const char *symbol, built *b, char *error,
                        size_t size) {
    schedule *s = schedule_graph(g, &options->schedule);
    bool ok     = build(s, options, symbol, b, error, size);
    schedule_free(s);
    return ok;
}

/* In memory */

static bool define_symbols(LLVMOrcLLJITRef jit, char *error, size_t size) {
    static const struct {
        const char *name;
        void *address;
    } known[] = {{"dnnl_sgemm", (void *)dnnl_sgemm},
                 {"GOMP_parallel", (void *)GOMP_parallel},
                 {"omp_get_thread_num", (void *)omp_get_thread_num},
                 {"omp_get_num_threads", (void *)omp_get_num_threads}};
    enum { COUNT = sizeof known / sizeof *known };
    LLVMOrcCSymbolMapPair pair[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        pair[i].Name = LLVMOrcLLJITMangleAndIntern(jit, known[i].name);
        pair[i].Sym =
            (LLVMJITEvaluatedSymbol){(uint64_t)(uintptr_t)known[i].address,
                                     {LLVMJITSymbolGenericFlagsExported | LLVMJITSymbolGenericFlagsCallable, 0}};
    }
    LLVMOrcJITDylibRef library = LLVMOrcLLJITGetMainJITDylib(jit);
    if (!take_error(LLVMOrcJITDylibDefine(library, LLVMOrcAbsoluteSymbols(pair, COUNT)), "LLVM", error, size))
        return false;
    LLVMOrcDefinitionGeneratorRef process;
    if (!take_error(LLVMOrcCreateDynamicLibrarySearchGeneratorForProcess(&process, LLVMOrcLLJITGetGlobalPrefix(jit),
                                                                         NULL, NULL),
                    "LLVM", error, size))
        return false;
    LLVMOrcJITDylibAddGenerator(library, process); /* sinf and its like */
    return true;
}

compiled *compile_schedule(schedule *s, const compile_options *options, char *error, size_t size) {
    built b;
    LLVMMemoryBufferRef object = NULL;
    char *text                 = NULL;
    compiled *c                = calloc(1, sizeof *c);
    if (!c) {
        fail(error, size, "cannot compile", "out of memory");
        return NULL;
    }
    if (!build(s, options, "attnc_program", &b, error, size)) {
        free(c);
        return NULL;
    }
    bool ok = true;
    if (LLVMTargetMachineEmitToMemoryBuffer(b.machine, b.module, LLVMObjectFile, &text, &object)) {
        ok = fail(error, size, "LLVM", text);
        LLVMDisposeMessage(text);
    }
    c->workspace_bytes = b.workspace;
    ok                 = ok && take_error(LLVMOrcCreateLLJIT(&c->jit, NULL), "LLVM", error, size);
    ok                 = ok && define_symbols(c->jit, error, size);
    if (ok) {
        ok = take_error(LLVMOrcLLJITAddObjectFile(c->jit, LLVMOrcLLJITGetMainJITDylib(c->jit), object), "LLVM", error,
                        size);
        object = NULL;
    }
    LLVMOrcExecutorAddress address = 0;
    ok       = ok && take_error(LLVMOrcLLJITLookup(c->jit, &address, "attnc_program"), "LLVM", error, size);
    c->entry = (entry_point *)(uintptr_t)address;
    if (object)
        LLVMDisposeMemoryBuffer(object);
    discard(&b);
    if (!ok) {
        compiled_free(c);
        return NULL;
    }
    return c;
}

compiled *compile_graph(graph *g, const compile_options *options, char *error, size_t size) {
    schedule *s = schedule_graph(g, &options->schedule);
    compiled *c = compile_schedule(s, options, error, size);
    schedule_free(s);
    return c;
}

void compiled_free(compiled *c) {
    if (!c)
        return;
    if (c->jit)
        LLVMConsumeError(LLVMOrcDisposeLLJIT(c->jit));
    free(c->workspace);
    free(c);
}

bool compiled_run(compiled *c, const void *const *tensor, void *const *output, uint64_t seed) {
    if (!c->workspace && c->workspace_bytes) {
        c->workspace = aligned_alloc(64, c->workspace_bytes);
        if (!c->workspace)
            return false;
    }
    return c->entry(tensor, output, c->workspace, seed) == 0;
}

uint64_t compiled_workspace_bytes(const compiled *c) {
    return c->workspace_bytes;
}

/* In files */

static bool is_reserved(const char *name) {
    static const char words[] =
        " alignas alignof and and_eq asm atomic_cancel auto bitand bitor bool break case catch char class compl const "
        "constexpr const_cast continue decltype default delete do double dynamic_cast else enum explicit export extern "
        "false float for friend goto if inline int long main mutable namespace new noexcept not not_eq nullptr "
        "operator "
        "or or_eq private protected public register reinterpret_cast requires restrict return short signed sizeof "
        "static static_assert static_cast struct switch template this thread_local throw true try typedef typeid "
        "typename typeof union unsigned using virtual void volatile wchar_t while xor xor_eq ";
    size_t length = strlen(name);
    for (const char *at = words; (at = strstr(at, name)); at++)
        if (at[-1] == ' ' && at[length] == ' ')
            return true;
    return false;
}

static size_t escape_name(const char *name, char *out, size_t size) {
    size_t used = 0, length = strlen(name);
    unsigned bytes;
    for (size_t i = 0; i < length && used + 12 < size; i += bytes) {
        uint32_t code = utf8_decode(name + i, length - i, &bytes);
        if (code < 0x80)
            out[used++] = (char)(isalnum((int)code) ? code : '_');
        else
            used += (size_t)snprintf(out + used, size - used, code > 0xFFFF ? "U%08X" : "u%04X", (unsigned)code);
    }
    out[used] = 0;
    return used;
}

void compile_c_name(const char *name, char *out, size_t size) {
    size_t used = escape_name(name, out, size);
    if (is_reserved(out))
        strcpy(out + used, "_");
}

enum { C_NAME = 4096 }; /* longer than what the names of a spec become */

static void write_upper(FILE *file, const char *name) {
    for (; *name; name++)
        fputc(toupper((unsigned char)*name), file);
}

static const char *nth_name(const graph *g, bool output, uint32_t i) {
    return output ? graph_output(g, i)->name : graph_tensor(g, i)->name;
}

/* The constant that numbers a tensor or an output. Two whose C names are the same are told apart by the number. */
static void write_constant(FILE *file, const graph *g, const char *symbol, bool output, uint32_t i) {
    char name[C_NAME], other[C_NAME];
    bool same = false;
    escape_name(nth_name(g, output, i), name, sizeof name);
    for (uint32_t k = 0; k < i && !same; k++) {
        escape_name(nth_name(g, output, k), other, sizeof other);
        same = strcmp(name, other) == 0;
    }
    fputs("    ", file);
    write_upper(file, symbol);
    fprintf(file, output ? "_OUTPUT_%s" : "_TENSOR_%s", name);
    if (same)
        fprintf(file, "_%u", i);
    fprintf(file, " = %u, /* ", i);
}

/* A comment of C that nothing in the text can end. */
static void write_comment(FILE *file, const char *text) {
    if (!text || !*text)
        return;
    fputs("/* ", file);
    for (char before = ' '; *text; before = *text++) {
        if ((before == '*' && *text == '/') || (before == '/' && *text == '*'))
            fputc(' ', file);
        if (*text == '\n')
            fputs("\n * ", file);
        else
            fputc(iscntrl((unsigned char)*text) && *text != '\t' ? '?' : *text, file);
    }
    fputs(" */\n", file);
}

static void write_shape(FILE *file, const graph *g, unsigned rank, const index_id *index) {
    fputc('[', file);
    for (unsigned i = 0; i < rank; i++)
        fprintf(file, "%s%s=%lld", i ? ", " : "", graph_index_name(g, index[i]),
                (long long)graph_index_extent(g, index[i]));
    fputc(']', file);
}

static void write_header(FILE *file, const graph *g, const char *symbol, uint64_t workspace, const char *comment) {
    fputs("/* Made by attnc. Arrays are dense, row-major, in the order of indices given; float unless said otherwise. "
          "*/\n",
          file);
    write_comment(file, comment);
    fputs("#ifndef ATTNC_", file);
    write_upper(file, symbol);
    fputs("_H\n#define ATTNC_", file);
    write_upper(file, symbol);
    fputs("_H\n\n#include <stdint.h>\n\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n/* Which element of `tensors` is "
          "which. */\nenum {\n",
          file);
    for (uint32_t i = 0; i < graph_tensor_count(g); i++) {
        const tensor *t = graph_tensor(g, i);
        write_constant(file, g, symbol, false, i);
        fputs(t->type == TYPE_INT ? "int32_t " : "", file);
        write_shape(file, g, t->rank, t->index);
        fputs(" */\n", file);
    }
    fputs("    ", file);
    write_upper(file, symbol);
    fprintf(file, "_TENSORS = %u\n};\n\n/* Which element of `outputs` is which. */\nenum {\n", graph_tensor_count(g));
    for (uint32_t i = 0; i < graph_output_count(g); i++) {
        const output *o = graph_output(g, i);
        write_constant(file, g, symbol, true, i);
        write_shape(file, g, o->rank, o->index);
        fputs(" */\n", file);
    }
    fputs("    ", file);
    write_upper(file, symbol);
    fprintf(file, "_OUTPUTS = %u\n};\n\n/* Bytes of `workspace`, which is aligned to 64. */\n#define ",
            graph_output_count(g));
    write_upper(file, symbol);
    fprintf(file,
            "_WORKSPACE_BYTES UINT64_C(%llu)\n\n/* Computes every output. No array may overlap another. Runs in "
            "OpenMP's threads; returns 0. */\nint %s"
            "(const void *const *tensors, void *const *outputs, void *workspace, uint64_t seed);\n\n#ifdef "
            "__cplusplus\n}\n#endif\n\n#endif\n",
            (unsigned long long)workspace, symbol);
}

/* Runs a program and waits; its standard error is ours. */
static bool run_program(char *const *arguments, char *error, size_t size) {
    pid_t child;
    int status, problem = posix_spawnp(&child, arguments[0], NULL, NULL, arguments, environ);
    if (problem)
        return fail(error, size, "a shared library needs the linker `cc`, which cannot be started", strerror(problem));
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return fail(error, size, "cc", strerror(errno));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? true
                                                         : fail(error, size, "cc", "could not link the shared library");
}

/* LLVM's own writing to files ends the process where the disk is full, so the text comes through memory. */
static bool write_bytes(const char *path, const char *temporary, const char *bytes, size_t count, char *error,
                        size_t size) {
    FILE *file = fopen(temporary, "wb");
    bool ok    = file && fwrite(bytes, 1, count, file) == count;
    ok         = (!file || fclose(file) == 0) && ok;
    return ok ? true : fail(error, size, path, strerror(errno));
}

static bool write_code(built *b, artifact kind, const char *path, const char *temporary, char *error, size_t size) {
    char *text = NULL;
    bool ok;
    if (kind == ARTIFACT_LLVM) {
        text = LLVMPrintModuleToString(b->module);
        ok   = write_bytes(path, temporary, text, strlen(text), error, size);
        LLVMDisposeMessage(text);
        return ok;
    }
    LLVMMemoryBufferRef code = NULL;
    LLVMCodeGenFileType type = kind == ARTIFACT_ASSEMBLY ? LLVMAssemblyFile : LLVMObjectFile;
    if (LLVMTargetMachineEmitToMemoryBuffer(b->machine, b->module, type, &text, &code)) {
        ok = fail(error, size, path, text ? text : "no code could be made");
        LLVMDisposeMessage(text);
        return ok;
    }
    ok = write_bytes(path, temporary, LLVMGetBufferStart(code), LLVMGetBufferSize(code), error, size);
    LLVMDisposeMemoryBuffer(code);
    return ok;
}

static bool header_to_file(const graph *g, const char *symbol, uint64_t workspace, const char *comment,
                           const char *path, const char *temporary, char *error, size_t size) {
    FILE *file = fopen(temporary, "w");
    if (!file)
        return fail(error, size, path, strerror(errno));
    write_header(file, g, symbol, workspace, comment);
    bool ok = !ferror(file);
    ok      = fclose(file) == 0 && ok;
    return ok ? true : fail(error, size, path, strerror(errno));
}

bool compile_to_file(graph *g, const compile_options *options, artifact kind, const char *symbol, const char *path,
                     char *error, size_t size) {
    char header[4096], code[4200], object[4200], include[4200], entry[C_NAME];
    compile_c_name(symbol, entry, sizeof entry);
    if (strlen(path) > 4000)
        return fail(error, size, "cannot write", "the path is too long");
    const char *dot = strrchr(path, '.');
    snprintf(header, sizeof header, "%.*s.h", (int)(dot ? dot - path : (ptrdiff_t)strlen(path)), path);
    snprintf(code, sizeof code, "%s.%d.tmp", path, (int)getpid());
    snprintf(object, sizeof object, "%s.%d.o.tmp", path, (int)getpid());
    snprintf(include, sizeof include, "%s.%d.tmp", header, (int)getpid());
    FILE *probe = fopen(code, "w"); /* before the work, not after it */
    if (!probe)
        return fail(error, size, path, strerror(errno));
    fclose(probe);
    built b;
    bool ok = build_graph(g, options, entry, &b, error, size);
    if (ok) {
        ok = write_code(&b, kind, path, kind == ARTIFACT_SHARED ? object : code, error, size);
        if (ok && kind == ARTIFACT_SHARED) {
            char *arguments[] = {"cc", "-shared", "-o", code, "-x", "none", object, "-ldnnl", "-lgomp", "-lm", NULL};
            char linked[4300];
            snprintf(linked, sizeof linked, "%s.o", object);
            ok           = rename(object, linked) == 0 || fail(error, size, object, strerror(errno));
            arguments[6] = linked;
            ok           = ok && run_program(arguments, error, size);
            unlink(linked);
        }
        ok = ok && header_to_file(g, entry, b.workspace, options->comment, header, include, error, size);
        if (ok && (rename(code, path) != 0 || rename(include, header) != 0))
            ok = fail(error, size, path, strerror(errno));
        discard(&b);
    }
    unlink(code);
    unlink(object);
    unlink(include);
    return ok;
}

void compile_dump_schedule(graph *g, const schedule_options *options, FILE *file) {
    schedule *s = schedule_graph(g, options);
    schedule_print(s, file);
    schedule_free(s);
}

bool compile_dump_llvm(graph *g, const compile_options *options, FILE *file, char *error, size_t size) {
    built b;
    if (!build_graph(g, options, "attnc_program", &b, error, size))
        return false;
    char *text = LLVMPrintModuleToString(b.module);
    fputs(text, file);
    LLVMDisposeMessage(text);
    discard(&b);
    return true;
}
