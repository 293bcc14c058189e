/* A libFuzzer target over the whole front end: any bytes end in a message or in a graph that verifies, never in a
 * crash, a leak or a hang. What parses is elaborated as what it says it is; small graphs are differentiated too. */
#include "derive.h"
#include "elaborate.h"
#include "gradcheck.h"
#include "mutate.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BINDINGS = 32, NODES_DERIVED = 3000, NAME_SIZE = 64 };

static FILE *nowhere;

static void must(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "fuzz_front: %s\n", what);
        abort();
    }
}

static void verify(const graph *g) {
    char error[512] = "";
    bool sound      = graph_verify(g, error, sizeof error);
    must(sound, error);
    graph_print(g, nowhere);
}

/* Includes reach the folder of the specs and nothing above it or beside it. */
static bool stays_inside(const char *text) {
    return !strstr(text, "..") && !strstr(text, "\"/");
}

/* `NAME = 1024` in the text, where NAME is a size or a number: a small value for it, so that extents are small. */
static size_t small_sizes(const spec *s, const char *text, char (*name)[NAME_SIZE], binding *list) {
    size_t count = 0;
    for (const char *at = strchr(text, '='); at && count < BINDINGS; at = strchr(at + 1, '=')) {
        const char *end = at, *number = at + 1;
        while (end > text && end[-1] == ' ')
            end--;
        const char *begin = end;
        while (begin > text && (isalnum((unsigned char)begin[-1]) || begin[-1] == '_'))
            begin--;
        double value = strtod(number, NULL);
        if (begin == end || end - begin >= NAME_SIZE || !(value > 9) || !(value < 1e9))
            continue;
        memcpy(name[count], begin, (size_t)(end - begin));
        name[count][end - begin] = 0;
        if (spec_declares(s, name[count])) {
            list[count] = (binding){name[count], 1 + (double)((long)value % 7)};
            count++;
        }
    }
    return count;
}

static void mechanism(const spec *s, const elaboration *how, diagnostics *d) {
    graph *g    = graph_new();
    unsigned ok = elaborate_mechanism(g, s, how, d);
    must(ok == (d->errors == 0), "a mechanism's errors are not what its result says");
    if (ok) {
        verify(g);
        if (graph_node_count(g) <= NODES_DERIVED && graph_index_count(g) < GRAPH_INDICES / 2 &&
            gradcheck_add_backward(g)) {
            verify(g);
            derive_forget_stops(g);
            verify(g);
        }
    }
    graph_free(g);
}

static void model(const spec *s, const elaboration *how, diagnostics *d) {
    graph *g       = graph_new();
    spec *identity = spec_read(ATTNC_SOURCE_SPECS "/identity.att", NULL, d);
    must(identity, "identity.att cannot be read");
    const spec *const slot[] = {identity};
    bool ok                  = elaborate_model(g, s, slot, &(elaboration){.training = how->training}, 1, how, d);
    must(ok == (d->errors == 0), "a model's errors are not what its result says");
    if (ok) {
        uint32_t orphan;
        verify(g);
        if (graph_node_count(g) <= NODES_DERIVED && derive_parameter_gradients(g, &orphan))
            verify(g);
    }
    spec_free(identity);
    graph_free(g);
}

/* Two parameters, a matrix and a number, of one loss. */
static void optimizer(const spec *s, const elaboration *how, diagnostics *d) {
    graph *g     = graph_new();
    tensor w     = {.name = "w", .kind = TENSOR_PARAMETER, .type = TYPE_FLOAT, .rank = 2, .group = "other"};
    tensor c     = {.name = "c", .kind = TENSOR_PARAMETER, .type = TYPE_FLOAT, .group = "other"};
    w.index[0]   = graph_index(g, "i", 2);
    w.index[1]   = graph_index(g, "j", 3);
    node matrix  = graph_tensor(g, graph_add_tensor(g, &w))->node,
         number  = graph_tensor(g, graph_add_tensor(g, &c))->node;
    node product = graph_mul(g, matrix, graph_mul(g, matrix, number));
    node loss    = graph_reduce(g, REDUCE_SUM, graph_view(g, product).free, NODE_NONE, product);
    graph_add_output(g, &(output){.name = "loss", .kind = OUTPUT_LOSS, .node = loss});
    uint32_t orphan;
    must(derive_parameter_gradients(g, &orphan), "the optimizer's loss has no gradient");
    bool ok = elaborate_optimizer(g, s, how, d);
    must(ok == (d->errors == 0), "an optimizer's errors are not what its result says");
    if (ok)
        verify(g);
    graph_free(g);
}

static void elaborate(const spec *s, const elaboration *how, diagnostics *d) {
    if (spec_get_kind(s) == SPEC_MODEL)
        model(s, how, d);
    else if (spec_get_kind(s) == SPEC_OPTIMIZER)
        optimizer(s, how, d);
    else
        mechanism(s, how, d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!nowhere)
        nowhere = fopen("/dev/null", "w");
    char *text = malloc(size + 1);
    must(nowhere && text, "no memory");
    memcpy(text, data, size);
    text[size] = 0;
    if (!stays_inside(text)) {
        free(text);
        return -1;
    }
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ data[i]) * 16777619u;
    diagnostics d = {.stream = nowhere};
    spec *s       = spec_read_text(ATTNC_SOURCE_SPECS "/fuzz.att", text, size, NULL, &d);
    must((s == NULL) == (d.errors > 0), "a spec that cannot be read has no errors, or one that was read has");
    if (s) {
        mutate_learn(text, size);
        spec_print(s, nowhere);
        char name[BINDINGS][NAME_SIZE];
        binding list[BINDINGS];
        size_t variants = spec_variant_count(s), variant = variants ? hash / 8 % (variants + 1) : 0;
        elaboration how   = {.training = hash & 2, .bindings = list};
        how.binding_count = hash & 4 ? small_sizes(s, text, name, list) : 0;
        how.variant       = variant ? spec_variant_name(s, variant - 1) : NULL;
        elaborate(s, &how, &d);
        if (d.errors > 0 && how.binding_count > 0) { /* small sizes that divide nothing */
            d                 = (diagnostics){.stream = nowhere};
            how.binding_count = 0;
            elaborate(s, &how, &d);
        }
        spec_free(s);
    }
    free(text);
    return 0;
}
