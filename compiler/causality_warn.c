/* The warning about a look into the future in a spec that declares itself causal. */
#include "causality.h"
#include "elaborate_internal.h"
#include "report.h"

#include <string.h>

static const tree *causal_statement(const spec *s) {
    for (const tree *t = s->statements; t; t = t->next)
        if (t->kind == TREE_CAUSAL)
            return t;
    return NULL;
}

void causality_warn(graph *g, const spec *mechanism, const elaboration *how, diagnostics *d) {
    const tree *declared = causal_statement(mechanism);
    if (!declared || graph_causal(g) == GRAPH_INDICES)
        return;
    causality c = causality_check(g, mechanism, how);
    if (c.kind != CAUSALITY_REFUTED && c.kind != CAUSALITY_UNPROVED)
        return;
    char text[512], found[256];
    const char *time = graph_index_name(g, graph_causal(g));
    if (c.kind == CAUSALITY_REFUTED) {
        report_causality(g, &c, found, sizeof found);
        const char *finding = strstr(found, ": "); /* after the verdict */
        snprintf(text, sizeof text, "this looks ahead although the spec is causal in `%s`: %s", time,
                 finding ? finding + 2 : found);
    } else {
        snprintf(text, sizeof text,
                 "this could not be shown to be causal in `%s`; no example against it was found either", time);
    }
    span at = declared->at;
    if (how->origins && c.culprit && c.culprit < how->origins->count)
        at = how->origins->at[c.culprit];
    diagnostics_add(d,
                    &(diagnostic){.severity = SEVERITY_WARNING,
                                  .at       = at,
                                  .text     = text,
                                  .hint = "restrict it to what has been, as in `where s <= t`, or take `causal` away"});
}
