/* From a graph to machine code: schedule → loop nests → LLVM IR → JIT or object file. */
#ifndef ATTNC_COMPILE_H
#define ATTNC_COMPILE_H

#include "schedule.h"

typedef struct compiled compiled; /* a program in memory, ready to run */

typedef struct compile_options {
    const char *cpu;      /* NULL: this machine */
    const char *features; /* NULL: this machine's */

    schedule_options schedule; /* what is fused */
    const char *comment;       /* compile_to_file: UTF-8 for the header, lines separated by newlines; NULL: none */
} compile_options;

/* Compiles every output of g. Returns NULL and one line in `error` on failure (out of memory, LLVM). */
compiled *compile_graph(graph *g, const compile_options *options, char *error, size_t error_size);
/* The same of a schedule, which stays the caller's. */
compiled *compile_schedule(schedule *s, const compile_options *options, char *error, size_t error_size);
void compiled_free(compiled *c);

/* Runs once. tensor[k] and output[k] are the graph's, row-major, float (int32_t for INT tensors). Outputs must not
 * overlap tensors or each other. Uses omp_get_max_threads() threads; the result is independent of their number.
 * Returns false only when the workspace cannot be allocated (allocated on first run and kept). */
bool compiled_run(compiled *c, const void *const *tensor, void *const *output, uint64_t seed);
uint64_t compiled_workspace_bytes(const compiled *c);

typedef enum artifact { ARTIFACT_OBJECT, ARTIFACT_SHARED, ARTIFACT_LLVM, ARTIFACT_ASSEMBLY } artifact;
/* Writes the program to `path` (through a temporary name) and the C header beside it, path with .h for the ending.
 * `symbol`, a name of the spec language, becomes the C name of the entry point: see compile_c_name. Returns false and
 * one line in `error`. */
bool compile_to_file(graph *g, const compile_options *options, artifact kind, const char *symbol, const char *path,
                     char *error, size_t error_size);

/* A name as a C identifier of ASCII: a letter beyond it becomes u and its four hexadecimal digits (U and eight for
 * those above U+FFFF), any other character `_`; a word of C or C++ gets a `_` at its end. */
void compile_c_name(const char *name, char *out, size_t size);

void compile_dump_schedule(graph *g, const schedule_options *options, FILE *file);
bool compile_dump_llvm(graph *g, const compile_options *options, FILE *file, char *error, size_t error_size);

#endif
