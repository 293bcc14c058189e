#include "derive.h"
#include "elaborate.h"
#include "gradcheck.h"
#include "interpret.h"
#include "simplify.h"
#include "stages_internal.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { DRAWS = 4, ENOUGH = 3, WAYS = 40 };

static const double ERROR = 1e-6; /* of a gradient, relative */

void *stages_need(void *memory) {
    if (!memory) {
        fputs("test_random: out of memory\n", stderr);
        exit(3);
    }
    return memory;
}

bool stages_fail(stages *r, stage at, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(r->message, sizeof r->message, format, arguments);
    va_end(arguments);
    r->failed = at;
    return false;
}

/* Values of tensors */

double **stages_values(const random_spec *s, const graph *g, uint64_t draw, double nudge, unsigned way) {
    double **value = stages_need(calloc(graph_tensor_count(g) + 1, sizeof *value));
    for (uint32_t k = 0; k < graph_tensor_count(g); k++) {
        const tensor *t = graph_tensor(g, k);
        value[k]        = stages_need(calloc((size_t)t->elements, sizeof **value));
        for (int64_t i = 0; i < t->elements; i++) {
            int64_t limit = t->type == TYPE_INT ? t->below : 0;
            value[k][i]   = random_spec_value(s, t->name, limit, draw, (uint64_t)i);
            if (!limit)
                value[k][i] *= 1 + nudge * random_spec_value(s, t->name, 0, 101 + way, (uint64_t)i);
        }
    }
    return value;
}

void stages_free_values(const graph *g, double **value) {
    for (uint32_t k = 0; k < graph_tensor_count(g); k++)
        free(value[k]);
    free(value);
}

/* What is in the graph */

static void note_scan(const graph *g, node_view v, stages *r) {
    uint8_t *depends = stages_need(calloc(graph_node_count(g) + 1, 1));
    r->coupled |= v.child_count > 2;
    r->backwards |= v.reverse;
    for (node n = 1; n <= graph_node_count(g); n++) {
        node_view w = graph_view(g, n);
        depends[n]  = w.op == NODE_PREVIOUS && w.scan_label == v.scan_label;
        for (unsigned i = 0; i < w.child_count; i++)
            depends[n] |= depends[w.child[i]];
        if (!depends[n] || (w.op == NODE_SCAN && w.scan_label == v.scan_label))
            depends[n] = 0;
        r->in_scan |= depends[n] && w.op == NODE_REDUCE;
        r->nested |= depends[n] && w.op == NODE_SCAN;
    }
    free(depends);
}

static void note_kinds(const graph *g, stages *r) {
    uint8_t *reached = stages_need(calloc(graph_node_count(g) + 1, 1));
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        reached[graph_output(g, i)->node] = 1;
    for (node n = (node)graph_node_count(g); n > 0; n--) {
        node_view v = graph_view(g, n);
        if (!reached[n])
            continue;
        r->kind[v.op] = true;
        if (v.op == NODE_REDUCE)
            r->reduction[v.reduction] = true;
        if (v.op == NODE_SCAN && v.scan_state == 0)
            note_scan(g, v, r);
        for (unsigned i = 0; i < v.child_count; i++)
            reached[v.child[i]] = 1;
    }
    free(reached);
}

/* Graphs */

static graph *elaborated(const spec *parsed, bool training, diagnostics *d) {
    graph *g = graph_new();
    if (elaborate_mechanism(g, parsed, &(elaboration){.training = training}, d)) {
        stages_add_systems(g);
        return g;
    }
    graph_free(g);
    return NULL;
}

static bool verified(const graph *g, stages *r, const char *what) {
    char error[512];
    return graph_verify(g, error, sizeof error) || stages_fail(r, STAGE_VERIFY, "%s: %s", what, error);
}

/* Instead of the loss and its gradients, the sum of the squares of these and the gradients of that. Returns false where
 * there are none. */
static bool add_second(graph *g) {
    enum { MOST = 64 };
    node loss = NODE_NONE, of[MOST], gradient[MOST];
    output copy[MOST];
    size_t count = 0;
    for (uint32_t i = 0; i < graph_output_count(g) && count < MOST; i++) {
        const output *o = graph_output(g, i);
        if (o->kind != OUTPUT_GRADIENT)
            continue;
        index_set all = 0;
        for (unsigned k = 0; k < o->rank; k++)
            all |= (index_set)1 << o->index[k];
        node part   = graph_reduce(g, REDUCE_SUM, all, NODE_NONE, graph_mul(g, o->node, o->node));
        loss        = loss ? graph_add(g, loss, part) : part;
        copy[count] = *o;
        of[count++] = graph_tensor(g, o->tensor)->node;
    }
    if (count == 0 || graph_is_constant(g, loss, NULL))
        return false;
    derive_gradients(g, loss, of, count, gradient);
    graph_drop_outputs(g, OUTPUT_LOSS);
    graph_drop_outputs(g, OUTPUT_GRADIENT);
    graph_add_output(g, &(output){.name = "squares", .kind = OUTPUT_LOSS, .node = loss});
    for (size_t k = 0; k < count; k++) {
        char name[64];
        snprintf(name, sizeof name, "second.%zu", k);
        copy[k].name = name;
        copy[k].node = gradient[k];
        graph_add_output(g, &copy[k]);
    }
    return true;
}

/* Everything that is derived, from the text. NULL where there is nothing to derive. */
static graph *derived(const spec *parsed, bool training, bool second, diagnostics *d) {
    graph *g = elaborated(parsed, training, d);
    if (g && gradcheck_add_backward(g) && (!second || add_second(g)))
        return g;
    graph_free(g);
    return NULL;
}

/* Gradients against finite differences */

double stages_largest(const double *x, int64_t count) {
    double largest = 0;
    for (int64_t k = 0; k < count; k++)
        if (isfinite(x[k]))
            largest = fmax(largest, fabs(x[k]));
    return largest;
}

static bool finite_outputs(interpretation *run, const graph *g, bool gradients) {
    for (uint32_t i = 0; i < graph_output_count(g); i++) {
        const output *o = graph_output(g, i);
        if ((o->kind == OUTPUT_GRADIENT) != gradients)
            continue;
        const double *x = interpret_output(run, i);
        for (int64_t k = 0; k < o->elements; k++)
            if (!isfinite(x[k]))
                return false;
    }
    return true;
}

/* Does the loss, or a gradient, jump where the inputs stand? Equals that are compared, and the largest of equals,
 * depend on the last digits there, and a difference says nothing. STOPs are held at their values in `base`. */
static bool jumps_here(const random_spec *s, const graph *g, uint64_t draw, interpretation *base) {
    bool jumps = false;
    for (unsigned way = 0; way < WAYS && !jumps; way++) {
        double nudge        = 1e-11 * pow(10, way % 5);
        double **value      = stages_values(s, g, draw, nudge, way);
        interpretation *run = interpret_new(g, (const double *const *)value, 1);
        interpret_hold_stops(run, base);
        for (uint32_t i = 0; i < graph_output_count(g); i++) {
            const output *o = graph_output(g, i);
            if (o->kind != OUTPUT_LOSS && o->kind != OUTPUT_GRADIENT)
                continue;
            const double *here = interpret_output(base, i), *there = interpret_output(run, i);
            double allowed = 1e4 * nudge * stages_largest(here, o->elements);
            for (int64_t k = 0; k < o->elements; k++)
                jumps |= !(fabs(there[k] - here[k]) <= allowed);
        }
        interpret_free(run);
        stages_free_values(g, value);
    }
    return jumps;
}

/* The error of the gradients at one set of values; NaN where there is nothing to compare. */
static double error_at(const random_spec *s, const graph *g, uint64_t draw, bool *undefined, FILE *table) {
    double **value = stages_values(s, g, draw, 0, 0), worst = NAN;
    interpretation *run = interpret_new(g, (const double *const *)value, 1);
    bool values = finite_outputs(run, g, false), gradients = values && finite_outputs(run, g, true);
    *undefined |= values && !gradients;
    if (gradients) {
        gradcheck_result result;
        gradcheck_run(g, g, (const double *const *)value, 1, &(gradcheck_options){ERROR, GRADCHECK_DIRECTION}, table,
                      &result);
        worst = result.worst;
    }
    if (worst >= ERROR && jumps_here(s, g, draw, run))
        worst = NAN;
    interpret_free(run);
    stages_free_values(g, value);
    return worst;
}

/* A step across a kink can spoil a difference at some values of the inputs; a wrong derivative disagrees at all. */
static bool gradients_agree(const random_spec *s, const graph *g, stage at, stages *r) {
    bool undefined    = false;
    unsigned compared = 0;
    double worst      = NAN;
    char *table       = NULL;
    size_t size       = 0;
    for (unsigned draw = 0; draw < DRAWS && !(worst < ERROR); draw++) {
        free(table);
        table      = NULL;
        FILE *file = stages_need(open_memstream(&table, &size));
        worst      = error_at(s, g, draw, &undefined, file);
        fclose(file);
        compared += !isnan(worst);
    }
    if (at == STAGE_GRADIENT)
        r->gradient = worst < ERROR ? GRADIENT_COMPARED : undefined ? GRADIENT_UNDEFINED : GRADIENT_INFINITE;
    bool ok = worst < ERROR || compared < ENOUGH || random_spec_is_wild(s);
    if (!ok)
        stages_fail(r, at, "derived gradients disagree with finite differences at %u sets of values, at the last:\n%s",
                    compared, table);
    free(table);
    return ok;
}

/* Simplification */

enum { NUDGES = 3 };

size_t stages_result_count(const graph *g) {
    size_t count = 0;
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        count += (size_t)graph_output(g, i)->elements;
    return count;
}

double *stages_results(const random_spec *s, const graph *g, double nudge, unsigned way) {
    size_t count = stages_result_count(g), at = 0;
    double **value      = stages_values(s, g, 0, nudge, way);
    double *all         = stages_need(calloc(count + 1, sizeof *all));
    interpretation *run = interpret_new(g, (const double *const *)value, 1);
    for (uint32_t i = 0; i < graph_output_count(g); i++) {
        size_t size = (size_t)graph_output(g, i)->elements;
        memcpy(all + at, interpret_output(run, i), size * sizeof *all);
        at += size;
    }
    interpret_free(run);
    stages_free_values(g, value);
    return all;
}

/* How far apart: infinite where only one is a number, or they are none in different ways. */
static double move(double a, double b) {
    if (isfinite(a) && isfinite(b))
        return fabs(a - b);
    return a == b || (isnan(a) && isnan(b)) ? 0 : INFINITY;
}

double *stages_conditioning(const random_spec *s, const graph *g, const double *wanted, size_t count, double nudge) {
    double *moves = stages_need(calloc(count + 1, sizeof *moves));
    for (unsigned way = 0; way < NUDGES; way++) {
        double *there = stages_results(s, g, nudge, way);
        for (size_t k = 0; k < count; k++)
            moves[k] = fmax(moves[k], move(there[k], wanted[k]));
        free(there);
    }
    return moves;
}

/* Comparisons and `if` can hide from the outputs what is not a number, and they are then not what simplification
 * promises to keep: it takes what a condition excludes for 0. */
double stages_largest_inside(const random_spec *s, const graph *g, bool *poisoned) {
    double **value      = stages_values(s, g, 0, 0, 0);
    interpretation *run = interpret_new(g, (const double *const *)value, 1);
    size_t nodes        = graph_node_count(g);
    uint8_t *reached    = stages_need(calloc(nodes + 1, 1));
    double largest      = 0;
    *poisoned           = false;
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        reached[graph_output(g, i)->node] = 1;
    for (size_t n = nodes; n >= 1; n--) {
        node_view v = graph_view(g, (node)n);
        for (unsigned i = 0; reached[n] && i < v.child_count; i++)
            reached[v.child[i]] = 1;
        if (!reached[n] || v.type != TYPE_FLOAT || graph_is_open(g, (node)n))
            continue;
        const double *x = interpret_node(run, (node)n);
        int64_t space   = graph_space(g, v.free);
        for (int64_t k = 0; k < space; k++) {
            *poisoned |= isnan(x[k]);
            largest = isfinite(x[k]) ? fmax(largest, fabs(x[k])) : largest;
        }
    }
    free(reached);
    interpret_free(run);
    stages_free_values(g, value);
    return largest;
}

bool stages_selects(const random_spec *s) {
    char *text = random_spec_text(s);
    bool found = strstr(text, "topk") || strstr(text, "argmax") || strstr(text, "argmin");
    free(text);
    return found;
}

/* Where the unsimplified outputs are finite the simplified ones are the same, but for rounding, of which as much is
 * allowed as the conditioning of the spec makes of a change in the inputs' last digits. */
static bool results_agree(const random_spec *s, const graph *plain, const graph *simple, const double *wanted,
                          const char *without, stages *r) {
    double *have = stages_results(s, simple, 0, 0), *moves = NULL;
    double most  = 1;
    size_t count = stages_result_count(plain), at = 0;
    bool ok = true;
    most    = fmax(most, stages_largest(wanted, (int64_t)count));
    for (uint32_t i = 0; i < graph_output_count(plain) && ok; i++) {
        const output *o = graph_output(plain, i);
        double allowed  = 1e-9 * stages_largest(wanted + at, o->elements) + 1e-12 * most;
        for (int64_t k = 0; k < o->elements && ok; k++, at++) {
            if (!isfinite(wanted[at]) || fabs(have[at] - wanted[at]) <= allowed)
                continue;
            moves = moves ? moves : stages_conditioning(s, plain, wanted, count, 1e-13);
            ok    = isfinite(have[at]) ? fabs(have[at] - wanted[at]) <= allowed + 1e4 * moves[at] : isinf(moves[at]);
            bool poisoned;
            double inside = stages_largest_inside(s, plain, &poisoned);
            ok |= stages_selects(s); /* rounding decides between equal scores */
            ok |= (random_spec_is_wild(s) && poisoned) ||
                  fabs(have[at] - wanted[at]) <= 1e-12 * inside + 1e-15 * inside * inside;
            r->tolerated += ok;
            if (!ok)
                stages_fail(r, STAGE_SIMPLIFY, "%s[%lld] is %.17g, simplified %.17g%s%s", o->name, (long long)k,
                            wanted[at], have[at], without[0] ? ", without " : "", without);
        }
    }
    free(have);
    free(moves);
    return ok;
}

/* All rewrites, then without each of `rewrites`. */
static bool check_simplified(const random_spec *s, const spec *parsed, bool training, bool second, uint64_t rewrites,
                             stages *r, diagnostics *d) {
    graph *plain = derived(parsed, training, second, d);
    if (!plain)
        return true;
    derive_forget_stops(plain);
    double *wanted = stages_results(s, plain, 0, 0);
    bool ok        = true;
    for (unsigned why = 0; why < REASON_REWRITES && ok; why++) {
        if (why > 0 && !(rewrites >> why & 1))
            continue;
        const char *without = why ? reason_name((reason)why) : "";
        graph *simple       = derived(parsed, training, second, d);
        derive_forget_stops(simple);
        simplify_outputs(simple, &(simplify_options){.without = why ? (uint64_t)1 << why : 0});
        ok = verified(simple, r, "simplified") && results_agree(s, plain, simple, wanted, without, r);
        graph_free(simple);
    }
    free(wanted);
    graph_free(plain);
    return ok;
}

/* Schedules */

/* Of everything that is derived or, where nothing is, of the outputs. */
static bool check_scheduled(const random_spec *s, const spec *parsed, bool training, bool second, stages *r,
                            diagnostics *d) {
    graph *g = derived(parsed, training, second, d);
    g        = g || second ? g : elaborated(parsed, training, d);
    if (!g)
        return true;
    derive_forget_stops(g);
    simplify_outputs(g, NULL);
    bool ok = stages_check_schedule(s, g, second ? "second derivatives" : "", r);
    graph_free(g);
    return ok;
}

/* All stages */

static bool check_derived(const random_spec *s, const spec *parsed, bool training, bool second, stages *r,
                          diagnostics *d) {
    graph *g = derived(parsed, training, second, d);
    bool ok  = true;
    if (g)
        ok = verified(g, r, second ? "second gradients" : "gradients") &&
             gradients_agree(s, g, second ? STAGE_SECOND : STAGE_GRADIENT, r);
    r->ran_second |= g && second;
    graph_free(g);
    return ok;
}

/* `whole`: second derivatives, single rewrites and schedules too. */
static bool check_all(const random_spec *s, const spec *parsed, bool training, bool whole, stages *r, diagnostics *d) {
    graph *g = parsed ? elaborated(parsed, training, d) : NULL;
    if (!g)
        return stages_fail(r, STAGE_ELABORATE, "not accepted");
    bool ok = verified(g, r, "elaborated");
    note_kinds(g, r);
    graph_free(g);
    bool second = whole && r->second;
    if (r->only_scheduled)
        return ok && (!whole || check_scheduled(s, parsed, training, false, r, d)) &&
               (!second || check_scheduled(s, parsed, training, true, r, d));
    return ok && check_derived(s, parsed, training, false, r, d) &&
           (!second || check_derived(s, parsed, training, true, r, d)) &&
           check_simplified(s, parsed, training, false, whole ? r->without : 0, r, d) &&
           (!second || check_simplified(s, parsed, training, true, 0, r, d)) &&
           (!whole || check_scheduled(s, parsed, training, false, r, d)) &&
           (!second || check_scheduled(s, parsed, training, true, r, d));
}

void stages_run(const random_spec *s, stages *r) {
    char *text = random_spec_text(s), *said = NULL;
    size_t size   = 0;
    diagnostics d = {.stream = stages_need(open_memstream(&said, &size))};
    spec *parsed  = spec_read_text("random.att", text, strlen(text), TEST_SOURCE_DIR "/specs", &d);
    r->failed     = STAGE_NONE;
    r->message[0] = 0;
    bool random   = strstr(text, "dropout(") != NULL; /* without it training makes no difference */
    if (check_all(s, parsed, false, !random, r, &d) && random)
        check_all(s, parsed, true, true, r, &d);
    fclose(d.stream);
    if (r->failed == STAGE_ELABORATE)
        stages_fail(r, STAGE_ELABORATE, "%.2000s", said);
    if (parsed)
        spec_free(parsed);
    free(said);
    free(text);
}

bool stages_exponential_below_sum(const random_spec *s) {
    char *text    = random_spec_text(s);
    FILE *nowhere = stages_need(fopen("/dev/null", "w"));
    diagnostics d = {.stream = nowhere};
    spec *parsed  = spec_read_text("random.att", text, strlen(text), TEST_SOURCE_DIR "/specs", &d);
    graph *g      = parsed ? elaborated(parsed, false, &d) : NULL;
    bool found    = false;
    if (g) {
        uint8_t *below = stages_need(calloc(graph_node_count(g) + 1, 1)); /* 1: reached, 2: from a sum */
        for (uint32_t i = 0; i < graph_output_count(g); i++)
            below[graph_output(g, i)->node] = 1;
        for (node n = (node)graph_node_count(g); n > 0; n--) {
            node_view v  = graph_view(g, n);
            uint8_t mark = below[n] | (below[n] && v.op == NODE_REDUCE && v.reduction == REDUCE_SUM ? 2 : 0);
            found |= below[n] & 2 && v.op == NODE_EXP;
            for (unsigned i = 0; i < v.child_count; i++)
                below[v.child[i]] |= mark;
        }
        free(below);
    }
    graph_free(g);
    if (parsed)
        spec_free(parsed);
    fclose(nowhere);
    free(text);
    return found;
}
