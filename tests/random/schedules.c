/* The schedule of a random spec's graph with tiny blocks, so that a few elements make many of them: verified, and
 * interpreted in double, in float, and as machine code. */
#include "schedule.h"
#include "stages_internal.h"
#include "tile_interpret.h"
#include "tile_verify.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RUN = 1, NUDGES = 3 }; /* RUN: the seed of runs, stages_results' */

static const double NUDGE_DOUBLE = 1e-13, NUDGE_FLOAT = 1e-6;

/* What is in the schedule */

static void note_statements(const graph *g, const statement *first, unsigned depth, stages *r) {
    unsigned walks = 0;
    for (const statement *a = first; a; a = a->next) {
        bool block = a->kind == STATEMENT_BLOCK;
        r->kernel |= block;
        walks += block && depth == 1;
        r->rescales |= a->kind == STATEMENT_STORE && depth > 1 && graph_view(g, a->value).op == NODE_HELD;
        if (a->kind == STATEMENT_FOR || a->kind == STATEMENT_IF || block)
            note_statements(g, a->body, depth + block, r);
        if (a->kind == STATEMENT_IF)
            note_statements(g, a->otherwise, depth, r);
    }
    r->passes |= walks > 1;
}

static void note_schedule(const schedule *plan, stages *r) {
    for (uint32_t i = 0; i < plan->step_count; i++) {
        r->blocks |= plan->step[i].kind == STEP_BLOCKS;
        if (plan->step[i].kind == STEP_NEST)
            note_statements(plan->graph, plan->step[i].body, 0, r);
    }
}

/* Runs */

/* One array of all outputs, of which each is freed. */
static double *joined(const graph *g, double **output) {
    double *all = stages_need(calloc(stages_result_count(g) + 1, sizeof *all));
    size_t at   = 0;
    for (uint32_t i = 0; i < graph_output_count(g); i++) {
        size_t size = (size_t)graph_output(g, i)->elements;
        memcpy(all + at, output[i], size * sizeof *all);
        at += size;
        free(output[i]);
    }
    return all;
}

typedef enum way_to_run { RUN_DOUBLE, RUN_FLOAT, RUN_MACHINE } way_to_run;

static const char *const way_name[] = {"tiles in double", "tiles in float", "machine code"};

/* NULL: `error` says why. */
static double *run_schedule(const random_spec *s, schedule *plan, way_to_run how, double nudge, unsigned way,
                            char *error, size_t size) {
    const graph *g  = plan->graph;
    double **value  = stages_values(s, g, 0, nudge, way);
    double **output = stages_need(calloc(graph_output_count(g) + 1, sizeof *output));
    bool ok         = how == RUN_MACHINE
                          ? stages_run_machine(plan, value, output, RUN, error, size)
                          : tile_interpret(plan, (const double *const *)value, output, RUN, how == RUN_FLOAT, error, size);
    double *all     = ok ? joined(g, output) : NULL;
    stages_free_values(g, value);
    free(output);
    return all;
}

/* Comparison */

static double apart(double a, double b) {
    if (isfinite(a) && isfinite(b))
        return fabs(a - b);
    return a == b || (isnan(a) && isnan(b)) ? 0 : INFINITY;
}

/* Are real numbers compared by ==? Machine code may compute one side in two ways, and the last bit decides then. */
static bool compares_equal(const graph *g) {
    uint8_t *reached = stages_need(calloc(graph_node_count(g) + 1, 1));
    bool found       = false;
    for (uint32_t i = 0; i < graph_output_count(g); i++)
        reached[graph_output(g, i)->node] = 1;
    for (node n = (node)graph_node_count(g); n > 0; n--) {
        node_view v = graph_view(g, n);
        for (unsigned i = 0; reached[n] && i < v.child_count; i++)
            reached[v.child[i]] = 1;
        found |= reached[n] && v.op == NODE_EQUAL && graph_view(g, v.child[0]).type == TYPE_FLOAT;
    }
    free(reached);
    return found;
}

static void add_moves(double *moves, double *there, const double *wanted, size_t count) {
    for (size_t k = 0; k < count; k++)
        moves[k] = fmax(moves[k], there ? apart(there[k], wanted[k]) : INFINITY);
    free(there);
}

/* By how much float moves each element: that of a schedule without blocks, where the inputs stand and near there. */
static double *float_moves(const random_spec *s, graph *g, const double *wanted, size_t count, bool machine) {
    char error[512];
    double *moves  = stages_need(calloc(count + 1, sizeof *moves));
    schedule *plan = schedule_graph(g, &(schedule_options){.unfused = true});
    for (unsigned way = 0; way <= NUDGES; way++)
        add_moves(moves, run_schedule(s, plan, RUN_FLOAT, way ? NUDGE_FLOAT : 0, way, error, sizeof error), wanted,
                  count);
    if (machine && compares_equal(g))
        add_moves(moves, run_schedule(s, plan, RUN_MACHINE, 0, 0, error, sizeof error), wanted, count);
    schedule_free(plan);
    return moves;
}

typedef struct results {
    const random_spec *s;
    graph *g;
    size_t count;
    double *wanted;   /* by the interpreter of graphs */
    double *have[3];  /* by way_to_run; NULL: not asked for */
    double *moves[3]; /* by way_to_run; NULL: not known yet */
    double inside;    /* < 0: not known yet */
    bool poisoned, selects;
} results;

/* What is allowed beyond the tolerance, from what this spec makes of small changes. */
static double excused_of(results *x, way_to_run how, size_t at) {
    if (!x->moves[how])
        x->moves[how] = how == RUN_DOUBLE ? stages_conditioning(x->s, x->g, x->wanted, x->count, NUDGE_DOUBLE)
                                          : float_moves(x->s, x->g, x->wanted, x->count, how == RUN_MACHINE);
    if (x->inside < 0)
        x->inside = stages_largest_inside(x->s, x->g, &x->poisoned);
    double allowed = (how == RUN_DOUBLE ? 1e4 : 30) * x->moves[how][at];
    if (how == RUN_DOUBLE)
        allowed += 1e-12 * x->inside + 1e-15 * x->inside * x->inside;
    return allowed;
}

static bool agrees(results *x, way_to_run how, stages *r) {
    const double *base = how == RUN_MACHINE ? x->have[RUN_FLOAT] : x->wanted, *have = x->have[how];
    double relative = how == RUN_DOUBLE ? 1e-9 : 1e-4, absolute = how == RUN_DOUBLE ? 1e-12 : 1e-6;
    double most = fmax(1, stages_largest(x->wanted, (int64_t)x->count));
    size_t at   = 0;
    for (uint32_t i = 0; i < graph_output_count(x->g); i++) {
        const output *o = graph_output(x->g, i);
        double allowed  = relative * stages_largest(base + at, o->elements) + absolute * most;
        for (int64_t k = 0; k < o->elements; k++, at++) {
            double by = apart(have[at], base[at]);
            if (by <= allowed)
                continue;
            /* a quotient by 0 may be taken of a sum instead of its terms: infinities that would cancel to no number do
             * not */
            bool divided = how != RUN_MACHINE && !isfinite(base[at]);
            if (divided || by <= allowed + excused_of(x, how, at) || x->selects) {
                r->excused++;
                continue;
            }
            return stages_fail(r, how == RUN_MACHINE ? STAGE_MACHINE : STAGE_TILES,
                               "%s[%lld] is %.17g by %s, but %.17g by %s; %.3g allowed, and %.3g for its conditioning",
                               o->name, (long long)k, have[at], way_name[how], base[at],
                               how == RUN_MACHINE ? way_name[RUN_FLOAT] : "the graph", allowed, excused_of(x, how, at));
        }
    }
    return true;
}

static void say_how(stages *r, const char *what) {
    size_t used = strlen(r->message);
    snprintf(r->message + used, sizeof r->message - used, "\n(%s%swide %g, rows %lld, stream %lld%s%s)", what,
             what[0] ? ", " : "", r->schedule.wide, (long long)r->schedule.rows, (long long)r->schedule.stream,
             r->schedule.unstreamed ? ", unstreamed" : "", r->schedule.unfused ? ", unfused" : "");
}

bool stages_check_schedule(const random_spec *s, graph *g, const char *what, stages *r) {
    char error[1024] = "";
    results x        = {.s       = s,
                        .g       = g,
                        .count   = stages_result_count(g),
                        .wanted  = stages_results(s, g, 0, 0),
                        .inside  = -1,
                        .selects = stages_selects(s)};
    schedule *plan   = schedule_graph(g, &r->schedule);
    bool ok          = tile_verify(plan, error, sizeof error);
    if (ok)
        note_schedule(plan, r);
    if (getenv("ATTNC_RANDOM_DUMP"))
        schedule_print(plan, stderr);
    for (way_to_run how = RUN_DOUBLE; how <= (r->machine ? RUN_MACHINE : RUN_FLOAT) && ok; how++) {
        x.have[how] = run_schedule(s, plan, how, 0, 0, error, sizeof error);
        ok          = x.have[how] != NULL;
        if (!ok)
            stages_fail(r, how == RUN_MACHINE ? STAGE_MACHINE : STAGE_TILES, "%s: %s", way_name[how], error);
    }
    if (!ok && !r->failed)
        stages_fail(r, STAGE_TILES, "not a program: %s", error);
    schedule_free(plan); /* what it adds to the graph must be there when others add more */
    for (way_to_run how = RUN_DOUBLE; how <= RUN_MACHINE && ok; how++)
        ok = !x.have[how] || agrees(&x, how, r);
    if (!ok)
        say_how(r, what);
    for (unsigned how = 0; how <= RUN_MACHINE; how++) {
        free(x.have[how]);
        free(x.moves[how]);
    }
    free(x.wanted);
    return ok;
}
