/* The warning about a parameter that a mechanism does not learn. */
#include "elaborate_internal.h"
#include "orphan.h"

#include <string.h>

static bool is_read(const graph *g, node tensor) {
    for (size_t n = 1; n <= graph_node_count(g); n++) {
        node_view v = graph_view(g, (node)n);
        for (unsigned i = 0; i < v.child_count; i++)
            if (v.child[i] == tensor)
                return true;
    }
    return false;
}

/* The last declaration: one in the main file goes before those of the files that it includes. */
static span declared(const spec *s, const char *name) {
    span at = {0};
    for (const tree *t = s->statements; t; t = t->next)
        if (t->kind == TREE_PARAM && strcmp(t->name, name) == 0)
            at = t->at;
    return at;
}

void orphan_warn(const graph *g, const spec *mechanism, uint8_t *known, diagnostics *d) {
    for (uint32_t i = 0; i < graph_output_count(g); i++) {
        const output *o = graph_output(g, i);
        double value;
        if (o->kind != OUTPUT_GRADIENT || known[o->tensor] || !graph_is_constant(g, o->node, &value) || value != 0)
            continue;
        known[o->tensor] = 1;
        const tensor *t  = graph_tensor(g, o->tensor);
        if (t->kind != TENSOR_PARAMETER || !is_read(g, t->node))
            continue;
        char why[ORPHAN_TEXT], text[ORPHAN_TEXT + 256];
        orphan_explain(g, o->tensor, why, sizeof why);
        snprintf(text, sizeof text, "the gradient of parameter `%s` is 0: %s", t->name, why);
        diagnostics_add(d, &(diagnostic){.severity = SEVERITY_WARNING,
                                         .at       = declared(mechanism, t->name),
                                         .path     = spec_path(mechanism),
                                         .text     = text});
    }
}
