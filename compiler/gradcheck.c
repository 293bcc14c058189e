/* The table of derived gradients and finite differences; what is compared. */
#include "derive.h"
#include "enough.h"
#include "gradcheck_internal.h"
#include "philox.h"
#include "reasons.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEW_ELEMENTS = 64, LARGEST = 16, RANDOM = 16 };
static const double LEAST_SIZE = 0.25;

bool gradcheck_add_backward(graph *g) {
    uint32_t outputs = graph_output_count(g), tensors = graph_tensor_count(g);
    node loss = NODE_NONE;
    graph_because(g, DERIVE_cotangent, NODE_NONE);
    for (uint32_t i = 0; i < outputs; i++) {
        output o = *graph_output(g, i);
        if (o.kind != OUTPUT_VALUE || graph_view(g, o.node).type != TYPE_FLOAT)
            continue;
        char name[512];
        tensor t = {.name = name, .kind = TENSOR_INPUT, .type = TYPE_FLOAT, .rank = o.rank};
        snprintf(name, sizeof name, "cotangent.%s", o.name);
        memcpy(t.index, o.index, sizeof t.index);
        index_set all = 0;
        for (unsigned k = 0; k < o.rank; k++)
            all |= (index_set)1 << o.index[k];
        node weight = graph_tensor(g, graph_add_tensor(g, &t))->node;
        node part   = graph_reduce(g, REDUCE_SUM, all, NODE_NONE, graph_mul(g, o.node, weight));
        loss        = loss ? graph_add(g, loss, part) : part;
    }
    graph_because(g, REASON_SPEC, NODE_NONE);
    if (!loss)
        return false;
    graph_add_output(g, &(output){.name = "cotangent", .kind = OUTPUT_LOSS, .node = loss});
    node *of = enough(calloc(tensors, sizeof *of)), *gradient = enough(calloc(tensors, sizeof *gradient));
    uint32_t count = 0;
    for (uint32_t i = 0; i < tensors; i++)
        if (graph_tensor(g, i)->type == TYPE_FLOAT)
            of[count++] = graph_tensor(g, i)->node;
    derive_gradients(g, derive_total_loss(g), of, count, gradient);
    for (uint32_t k = 0; k < count; k++) {
        uint32_t number = graph_view(g, of[k]).tensor;
        const tensor *t = graph_tensor(g, number);
        char name[512];
        snprintf(name, sizeof name, "gradient.%s", t->name);
        output o = {.name = name, .kind = OUTPUT_GRADIENT, .tensor = number, .rank = t->rank, .node = gradient[k]};
        memcpy(o.index, t->index, sizeof o.index);
        graph_add_output(g, &o);
    }
    free(of);
    free(gradient);
    return true;
}

/* What was compared: along the random direction, or one element. */
typedef struct finding {
    difference d;
    double derived;
    int64_t element; /* -1: the direction */
} finding;

/* What a tensor's lines say. */
typedef struct comparison {
    const tensor *t;
    finding along, worst; /* worst.element is -1 where no element was compared */
    int64_t compared;     /* elements */
} comparison;

static bool worse(const finding *a, const finding *b) {
    return a->d.verdict != b->d.verdict ? a->d.verdict > b->d.verdict : a->d.error > b->d.error;
}

static finding compare_direction(loss_line *l, const tensor *t, const double *gradient, double tolerance) {
    double *direction = enough(malloc((size_t)t->elements * sizeof *direction)), derived = 0, size = 0;
    for (int64_t k = 0; k < t->elements; k++) {
        direction[k] = 2 * philox_uniform(l->seed + 77, l->tensor, (uint64_t)k) - 1;
        derived += gradient[k] * direction[k];
        size += fabs(gradient[k] * direction[k]);
    }
    l->direction = direction;
    l->single    = t->elements == 1;
    finding f    = {difference_along(l, derived, size / sqrt((double)t->elements), tolerance), derived, -1};
    free(direction);
    return f;
}

static int64_t largest_left(const double *gradient, const uint8_t *chosen, int64_t elements) {
    int64_t best = -1;
    for (int64_t k = 0; k < elements; k++)
        if (!chosen[k] && (best < 0 || fabs(gradient[k]) > fabs(gradient[best]) || isnan(gradient[k])))
            best = k;
    return best;
}

/* Marks the elements to compare and returns how many. */
static int64_t choose_elements(const loss_line *l, const tensor *t, const double *gradient, bool all, uint8_t *chosen) {
    if (all || t->elements <= FEW_ELEMENTS) {
        memset(chosen, 1, (size_t)t->elements);
        return t->elements;
    }
    for (int k = 0; k < LARGEST; k++)
        chosen[largest_left(gradient, chosen, t->elements)] = 1;
    for (uint64_t k = 0; k < RANDOM; k++) {
        int64_t at = (int64_t)(philox_uniform(l->seed + 78, l->tensor, k) * (double)t->elements);
        while (chosen[at])
            at = (at + 1) % t->elements;
        chosen[at] = 1;
    }
    return LARGEST + RANDOM;
}

static void compare_elements(loss_line *l, comparison *c, const double *gradient, const gradcheck_options *options) {
    int64_t elements  = c->t->elements;
    uint8_t *chosen   = enough(calloc((size_t)elements, 1));
    double *direction = enough(calloc((size_t)elements, sizeof *direction)), scale = 0;
    for (int64_t k = 0; k < elements; k++)
        scale = fmax(scale, fabs(gradient[k]));
    l->direction = direction;
    l->single    = true;
    c->compared  = choose_elements(l, c->t, gradient, options->elements == GRADCHECK_ALL_ELEMENTS, chosen);
    for (int64_t k = 0; k < elements; k++) {
        if (!chosen[k])
            continue;
        direction[k] = 1;
        finding f    = {difference_along(l, gradient[k], scale, options->tolerance), gradient[k], k};
        direction[k] = 0;
        if (c->worst.element < 0 || worse(&f, &c->worst))
            c->worst = f;
    }
    free(chosen);
    free(direction);
}

/* An element as `[1,0,2]`, in the order of the tensor's own axes. */
static void element_text(const tensor *t, int64_t element, char *text, size_t size) {
    int64_t at[TENSOR_RANK];
    for (unsigned r = t->rank; r-- > 0; element /= t->extent[r])
        at[r] = element % t->extent[r];
    size_t used = (size_t)snprintf(text, size, "[");
    for (unsigned r = 0; r < t->rank && used < size; r++)
        used += (size_t)snprintf(text + used, size - used, "%s%lld", r ? "," : "", (long long)at[r]);
    if (used < size)
        snprintf(text + used, size - used, "]");
}

static void print_padded(FILE *file, const char *text, unsigned width) {
    fputs(text, file);
    for (; *text; text++)
        width -= width > 0 && ((unsigned char)*text & 0xC0) != 0x80; /* a character, not a byte */
    fprintf(file, "%*s", (int)width, "");
}

static void print_numbers(FILE *file, const finding *f) {
    fprintf(file, " %20.12g", f->derived);
    if (isfinite(f->d.value))
        fprintf(file, " %20.12g %9.1e %9.1e  ", f->d.value, f->d.error, f->d.estimate);
    else
        fprintf(file, " %20s %9s %9s  ", "-", "-", "-");
}

/* Why nothing was compared. */
static const char *const verdict_text[] = {
    [GRADCHECK_UNCERTAIN]  = "the finite differences are too inexact",
    [GRADCHECK_KINK]       = "a kink",
    [GRADCHECK_JUMP]       = "the outputs jump, because a selection changes",
    [GRADCHECK_NOT_FINITE] = "the outputs are not finite a small step away (a selection, or a value that `stop` holds, "
                             "changed under the step, or the function is not finite there)",
    [GRADCHECK_NO_VALUE]   = "the outputs are not finite at these values",
    [GRADCHECK_NO_DERIVATIVE] = "the derived gradient is not finite"};

static void print_verdict(FILE *file, const finding *f, const char *element) {
    gradcheck_verdict v = f->d.verdict;
    fputs(v == GRADCHECK_AGREES ? "agrees" : v == GRADCHECK_DIFFERS ? "differs" : "not compared", file);
    if (v != GRADCHECK_AGREES && f->element >= 0)
        fprintf(file, " at %s", element);
    if (v != GRADCHECK_AGREES && v != GRADCHECK_DIFFERS)
        fprintf(file, ": %s", verdict_text[v]);
    if (v == GRADCHECK_KINK)
        fprintf(file, ", with slopes %.6g and %.6g", f->d.below, f->d.above);
    fputc('\n', file);
}

static void print_comparison(FILE *file, const comparison *c, unsigned width) {
    bool from_element = c->worst.element >= 0 && c->worst.d.verdict >= c->along.d.verdict;
    char text[256], indented[sizeof text + 2];
    element_text(c->t, c->worst.element >= 0 ? c->worst.element : 0, text, sizeof text);
    print_padded(file, c->t->name, width);
    print_numbers(file, &c->along);
    print_verdict(file, from_element ? &c->worst : &c->along, text);
    if (c->worst.element < 0)
        return;
    snprintf(indented, sizeof indented, "  %s", text);
    print_padded(file, indented, width);
    print_numbers(file, &c->worst);
    if (c->compared == c->t->elements)
        fprintf(file, "the worst of %lld elements\n", (long long)c->compared);
    else
        fprintf(file, "the worst of %lld of %lld elements\n", (long long)c->compared, (long long)c->t->elements);
}

static unsigned name_width(const graph *g) {
    size_t width = 14;
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        if (graph_output(g, i)->kind == OUTPUT_GRADIENT)
            width = strlen(graph_tensor(g, graph_output(g, i)->tensor)->name) > width
                        ? strlen(graph_tensor(g, graph_output(g, i)->tensor)->name)
                        : width;
    return (unsigned)width;
}

/* A loss is a sum of an output's elements times numbers of size 1: what rounding makes of that. */
static double rounding_of(interpretation *base, const graph *g, double loss) {
    double size = fabs(loss);
    for (uint32_t i = 0; i < graph_output_count(g); i++) {
        const output *o = graph_output(g, i);
        double squares  = 0;
        if (o->kind != OUTPUT_VALUE || graph_view(g, o->node).type != TYPE_FLOAT)
            continue;
        const double *y = interpret_output(base, i);
        for (int64_t k = 0; k < o->elements; k++)
            squares += y[k] * y[k];
        size += sqrt(squares);
    }
    return 8 * DBL_EPSILON * size;
}

/* How wide a step may be at first. Weights of little size act together, so that each alone may be moved further. */
static double size_of_values(const double *value, int64_t elements) {
    double squares = 0;
    for (int64_t k = 0; k < elements; k++)
        squares += value[k] * value[k];
    return squares > 0 ? fmax(sqrt(squares / (double)elements), LEAST_SIZE) : 1;
}

static void count_in(gradcheck_result *result, uint32_t tensor, const finding *f) {
    bool same = f->d.verdict == result->verdict, closer = f->element >= 0 && result->element < 0;
    if (f->d.verdict > result->verdict || (same && tensor == result->tensor && closer) ||
        (same && f->d.error > result->worst)) {
        result->verdict = f->d.verdict;
        result->tensor  = tensor;
        result->element = f->element;
    }
    if (f->d.verdict != GRADCHECK_AGREES && f->d.verdict != GRADCHECK_DIFFERS)
        result->worst = NAN;
    else if (f->d.error > result->worst)
        result->worst = f->d.error;
}

void gradcheck_run(const graph *g, const graph *derived, const double *const *tensor_value, uint64_t seed,
                   const gradcheck_options *options, FILE *file, gradcheck_result *result) {
    interpretation *base = interpret_new(g, tensor_value, seed), *other = NULL;
    double loss    = loss_sum(base, g); /* every STOP that a loss needs now has its value */
    loss_line line = {g, tensor_value, seed, base, loss, rounding_of(base, g, loss), 0, 1, NULL, false};
    unsigned width = name_width(derived);
    *result        = (gradcheck_result){.element = -1};
    if (derived != g)
        other = interpret_new(derived, tensor_value, seed);
    if (file) {
        print_padded(file, "tensor", width);
        fprintf(file, " %20s %20s %9s %9s\n", "derived", "finite difference", "error", "±");
    }
    for (uint32_t i = 0; i < graph_output_count(derived); i++) {
        const output *o = graph_output(derived, i);
        if (o->kind != OUTPUT_GRADIENT)
            continue;
        const double *gradient = interpret_output(other ? other : base, i);
        comparison c           = {.t = graph_tensor(g, o->tensor), .worst.element = -1};
        line.tensor            = o->tensor;
        line.size              = size_of_values(tensor_value[o->tensor], c.t->elements);
        c.along                = compare_direction(&line, c.t, gradient, options->tolerance);
        if (options->elements != GRADCHECK_DIRECTION && c.t->elements > 1)
            compare_elements(&line, &c, gradient, options);
        count_in(result, o->tensor, &c.along);
        if (c.worst.element >= 0)
            count_in(result, o->tensor, &c.worst);
        if (file)
            print_comparison(file, &c, width);
    }
    interpret_free(base);
    interpret_free(other);
}
