/* A random spec through the compiler's stages: elaboration, derivation, simplification, schedule, machine code, each
 * checked by an interpreter. */
#ifndef ATTNC_RANDOM_STAGES_H
#define ATTNC_RANDOM_STAGES_H

#include "graph.h"
#include "random_spec.h"
#include "schedule.h"

enum { NODE_KINDS = NODE_RANDOM + 1, REDUCTIONS = REDUCE_ALL + 1 };

typedef enum stage {
    STAGE_NONE,
    STAGE_ELABORATE,
    STAGE_VERIFY,
    STAGE_GRADIENT,
    STAGE_SECOND,
    STAGE_SIMPLIFY,
    STAGE_TILES,   /* the schedule, verified and interpreted */
    STAGE_MACHINE, /* machine code of it */
    STAGE_CRASH    /* the compiler ended the process, or did not come to an end */
} stage;

typedef enum comparison {
    GRADIENT_NONE,     /* no output is a real number */
    GRADIENT_COMPARED, /* derived and finite differences agree */
    GRADIENT_INFINITE, /* at no values tried all were finite */
    GRADIENT_UNDEFINED /* the outputs are finite, a derivative is not */
} comparison;

typedef struct stages {
    /* in */
    uint64_t seed;    /* the caller's */
    bool second;      /* derive again */
    uint64_t without; /* rewrites, each of which is left out of a simplification of its own */
    schedule_options schedule;
    bool machine;        /* make machine code */
    bool only_scheduled; /* leave out the stages between elaboration and schedule */
    /* out */
    stage failed;       /* STAGE_NONE: nothing */
    char message[2048]; /* about it */
    comparison gradient;
    unsigned tolerated; /* simplified outputs that only the conditioning of the spec excuses */
    bool ran_second;
    bool kind[NODE_KINDS]; /* node kinds in the graphs of the spec */
    bool reduction[REDUCTIONS];
    bool coupled, backwards, nested, in_scan; /* scans: of several states, reverse, in a scan, a reduction of a state */
    /* schedules: steps in blocks, kernels of tiles, one that walks its stream several times, one that rescales */
    bool blocks, kernel, passes, rescales;
    unsigned excused; /* scheduled outputs that only the conditioning of the spec excuses */
} stages;

/* Runs them until one fails. */
void stages_run(const random_spec *s, stages *r);

/* Is the spec accepted, with an exponential below a sum? A question to try the minimiser with. */
bool stages_exponential_below_sum(const random_spec *s);

#endif
