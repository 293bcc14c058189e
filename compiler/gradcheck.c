#include "gradcheck.h"

#include "derive.h"
#include "interpret.h"
#include "philox.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void *get(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    if (!memory) {
        fputs("attnc: out of memory\n", stderr);
        exit(3);
    }
    return memory;
}

bool gradcheck_add_backward(graph *g) {
    uint32_t outputs = graph_output_count(g), tensors = graph_tensor_count(g);
    node loss = NODE_NONE;
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
    if (!loss)
        return false;
    graph_add_output(g, &(output){.name = "cotangent", .kind = OUTPUT_LOSS, .node = loss});
    node *of = get(tensors, sizeof *of), *gradient = get(tensors, sizeof *gradient);
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

static double losses(interpretation *run, const graph *g) {
    double sum = 0;
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        if (graph_output(g, i)->kind == OUTPUT_LOSS)
            sum += interpret_output(run, i)[0];
    return sum;
}

/* The losses with tensor `number` moved by `step` along `direction`. */
static double moved(const graph *g, const double *const *tensor_value, uint64_t seed, interpretation *base,
                    uint32_t number, const double *direction, double step) {
    uint32_t tensors     = graph_tensor_count(g);
    const double **value = get(tensors, sizeof *value);
    int64_t elements     = graph_tensor(g, number)->elements;
    double *there        = get((size_t)elements, sizeof *there);
    memcpy(value, tensor_value, tensors * sizeof *value);
    for (int64_t i = 0; i < elements; i++)
        there[i] = tensor_value[number][i] + step * direction[i];
    value[number]       = there;
    interpretation *run = interpret_new(g, value, seed);
    interpret_hold_stops(run, base);
    double result = losses(run, g);
    interpret_free(run);
    free(there);
    free(value);
    return result;
}

/* The relative error of `derived` against central differences of two step sizes extrapolated to none (Richardson). A
 * step across a kink (a ReLU, a selection that changes) spoils a difference, so smaller steps follow where the first
 * disagrees; a wrong derivative disagrees with all of them. What the rounding of the loss makes of the widest
 * difference is no error: of a parameter that the outputs do not depend on there is nothing else to see. */
static double check_along(const graph *g, const double *const *tensor_value, uint64_t seed, interpretation *base,
                          uint32_t number, const double *direction, double derived, double scale, double *finite) {
    const tensor *t = graph_tensor(g, number);
    double squares = 0, best = INFINITY;
    for (int64_t i = 0; i < t->elements; i++)
        squares += tensor_value[number][i] * tensor_value[number][i];
    double size  = sqrt(squares / (double)t->elements);
    double noise = 64 * DBL_EPSILON * fmax(1, fabs(losses(base, g))) / (1e-2 * (size > 0 ? size : 1));
    for (double h = 1e-2 * (size > 0 ? size : 1); h > 1e-6 * (size > 0 ? size : 1) && !(best < 1e-8); h /= 8) {
        double d[2];
        for (int level = 0; level < 2; level++) {
            double step = h / (1 << level);
            d[level]    = (moved(g, tensor_value, seed, base, number, direction, step) -
                        moved(g, tensor_value, seed, base, number, direction, -step)) /
                       (2 * step);
        }
        double here  = (4 * d[1] - d[0]) / 3;
        double apart = fabs(derived - here);
        double error = (apart <= noise ? 0 : apart - noise) / fmax(fmax(fabs(here), scale), 1e-12);
        if (error < best || isnan(error)) {
            best    = error;
            *finite = here;
        }
        if (isnan(error))
            return error;
    }
    return best;
}

/* Why there is nothing to compare; NULL where there is. */
static const char *without_number(double loss, double derived, double finite) {
    if (!isfinite(loss))
        return "none: the outputs are not finite at these values";
    if (!isfinite(derived))
        return "none: the derived gradient is not finite";
    if (!isfinite(finite))
        return "none: the outputs are not finite a small step away: a selection, or a value that `stop` holds, "
               "changed under the step, or the function is not finite there";
    return NULL;
}

void gradcheck_run(const graph *g, const double *const *tensor_value, uint64_t seed, FILE *file, double *worst) {
    interpretation *base = interpret_new(g, tensor_value, seed);
    double loss          = losses(base, g); /* every STOP that a loss needs now has its value */
    *worst               = 0;
    fprintf(file, "%-28s %22s %22s %10s\n", "tensor", "derived", "finite difference", "error");
    for (uint32_t i = 0; i < graph_output_count(g); i++) {
        const output *o = graph_output(g, i);
        if (o->kind != OUTPUT_GRADIENT)
            continue;
        const tensor *t        = graph_tensor(g, o->tensor);
        const double *gradient = interpret_output(base, i);
        double *direction      = get((size_t)t->elements, sizeof *direction);
        double derived = 0, size = 0;
        for (int64_t k = 0; k < t->elements; k++) {
            direction[k] = 2 * philox_uniform(seed + 77, o->tensor, (uint64_t)k) - 1;
            derived += gradient[k] * direction[k];
            size += fabs(gradient[k] * direction[k]);
        }
        double finite = 0, error = check_along(g, tensor_value, seed, base, o->tensor, direction, derived,
                                               size / sqrt((double)t->elements), &finite);
        const char *why = without_number(loss, derived, finite);
        if (why)
            error = NAN;
        if (error > *worst || isnan(error))
            *worst = error;
        if (why)
            fprintf(file, "%-28s %22.14g  %s\n", t->name, derived, why);
        else
            fprintf(file, "%-28s %22.14g %22.14g %10.2e\n", t->name, derived, finite, error);
        free(direction);
    }
    interpret_free(base);
}
