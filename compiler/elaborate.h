/* From parsed specs to one graph: names, index ranges, sizes and types are checked, functions expanded.
 * This is the only stage that sees both the tree and the graph. */
#ifndef ATTNC_ELABORATE_H
#define ATTNC_ELABORATE_H

#include "diagnostics.h"
#include "graph.h"

#include <stdio.h>

/* A file that was read and parsed, with its includes. A function below that takes diagnostics and returns false or NULL
 * has added at least one error. */
typedef struct spec spec;

typedef enum spec_kind { SPEC_LIBRARY, SPEC_MECHANISM, SPEC_MODEL, SPEC_OPTIMIZER } spec_kind;

/* Reads and parses. An include is looked for beside the file that asks, then in `library` (may be NULL), then in the
 * specs folder of the build, then in the installed one. Returns NULL after reporting. Free with spec_free. */
spec *spec_read(const char *path, const char *library, diagnostics *d);
/* The same for text in memory, which is copied; `name` stands in messages, and includes are looked for beside it. */
spec *spec_read_text(const char *name, const char *text, size_t size, const char *library, diagnostics *d);
void spec_free(spec *s);
spec_kind spec_get_kind(const spec *s);
const char *spec_name(const spec *s);
const char *spec_title(const spec *s);
const char *spec_path(const spec *s);
size_t spec_variant_count(const spec *s); /* 0: the spec is its own only variant */
const char *spec_variant_name(const spec *s, size_t i);
void spec_print(const spec *s, FILE *file); /* the tree, for --dump=ast */

/* The comment directly above the head of the main file, its lines without `#`, separated by newlines; "" for none. It
 * is the spec's. */
const char *spec_comment(const spec *s);

/* What that comment cites, in its order and each once: "arXiv:1706.03762", "doi:10.1000/182", "Vaswani et al. 2017". */
size_t spec_citation_count(const spec *s);
const char *spec_citation(const spec *s, size_t i);

/* One overriding `-D NAME=VALUE`: a size or a number of the spec, a model's size among them. */
typedef struct binding {
    const char *name;
    double value;
} binding;

/* Where in the sources nodes come from, by handle, filled while a mechanism is elaborated. Freed by
 * elaborate_origins_free. */
typedef struct origins {
    span *at;
    size_t count, room;
} origins;
void elaborate_origins_free(origins *o);

typedef struct elaboration {
    const char *variant; /* NULL: the spec's defaults */
    const binding *bindings;
    size_t binding_count;
    bool training;    /* false: dropout(x, P) is x */
    origins *origins; /* or NULL */
} elaboration;

/* A mechanism alone: its inputs and parameters become tensors, its outputs and losses outputs.
 * A binding that names nothing in the spec is an error. */
bool elaborate_mechanism(graph *g, const spec *mechanism, const elaboration *how, diagnostics *d);

/* Does the spec declare a size or a number of this name? */
bool spec_declares(const spec *s, const char *name);

/* A model with a mechanism in its slot: a call `attention(…)` in layer l of a repeat is
 * mechanism[l % mechanism_count]. how->bindings go to the model, mechanism_how[k]'s to the mechanism; the
 * extents of a mechanism's input indices are those of the argument. Its parameters are qualified
 * layer<l>.attention.<name>, in group attention. Its losses become outputs of kind OUTPUT_LOSS named
 * layer<l>.attention.<loss>. */
bool elaborate_model(graph *g, const spec *model, const spec *const *mechanism, const elaboration *mechanism_how,
                     size_t mechanism_count, const elaboration *how, diagnostics *d);

/* The optimizer, applied to a graph whose outputs hold one OUTPUT_GRADIENT for every parameter: adds the
 * inputs (rate, step: rank-0 tensors), the states, and an OUTPUT_UPDATE for each parameter and state. */
bool elaborate_optimizer(graph *g, const spec *optimizer, const elaboration *how, diagnostics *d);

#endif
