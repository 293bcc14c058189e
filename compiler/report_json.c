/* The report as JSON; field names are documented in docs/report.md and stay. */
#include "enough.h"
#include "report.h"
#include "report_internal.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

static cJSON *text_value(const char *text) {
    return enough(cJSON_CreateString(text));
}

/* Whole numbers of any length. */
static cJSON *whole(wide n) {
    char with[128], plain[128];
    size_t used = 0;
    number_text(n, with, sizeof with);
    for (const char *c = with; *c; c++)
        if (*c != ',')
            plain[used++] = *c;
    plain[used] = 0;
    return enough(cJSON_CreateRaw(plain));
}

static cJSON *number(rational r) {
    return r.below == 1 ? whole(r.above) : enough(cJSON_CreateNumber(rational_double(r)));
}

static cJSON *object(void) {
    return enough(cJSON_CreateObject());
}

static cJSON *array(void) {
    return enough(cJSON_CreateArray());
}

static void set(cJSON *o, const char *name, cJSON *value) {
    cJSON_AddItemToObject(o, name, value);
}

static cJSON *coefficients(const formula *f) {
    cJSON *o = object();
    for (unsigned k = 0; k < f->count; k++) {
        rational r = f->coefficient[k];
        char power[16], ratio[128];
        snprintf(power, sizeof power, "%d", f->lowest + (int)k);
        if (!r.above)
            continue;
        rational_text(r, ratio, sizeof ratio);
        set(o, power, strchr(ratio, '/') ? text_value(ratio) : number(r)); /* 1/3 is no number of JSON */
    }
    return o;
}

static cJSON *amount(const facts *f, quantity q) {
    cJSON *o = object();
    char text[640];
    set(o, "per_token", number(report_per_token(f, q)));
    set(o, "total", whole(f->total[q]));
    if (!f->fitted || !f->per_token[q].known) {
        set(o, "formula", enough(cJSON_CreateNull()));
        return o;
    }
    formula_text(&f->per_token[q], f->variable, text, sizeof text);
    set(o, "formula", text_value(text));
    set(o, "coefficients", coefficients(&f->per_token[q]));
    return o;
}

static cJSON *index_names(const graph *g, index_set set_of) {
    cJSON *a = array();
    for (unsigned i = 0; i < graph_index_count(g); i++)
        if (set_of >> i & 1)
            cJSON_AddItemToArray(a, text_value(graph_index_name(g, (index_id)i)));
    return a;
}

static cJSON *parameters(const graph *g) {
    cJSON *a = array();
    for (uint32_t i = 0; i < graph_tensor_count(g); i++) {
        const tensor *t = graph_tensor(g, i);
        if (t->kind != TENSOR_PARAMETER)
            continue;
        cJSON *o = object(), *shape = array(), *indices = array();
        for (unsigned k = 0; k < t->rank; k++) {
            cJSON_AddItemToArray(indices, text_value(graph_index_name(g, t->index[k])));
            cJSON_AddItemToArray(shape, whole(t->extent[k]));
        }
        set(o, "name", text_value(t->name));
        set(o, "indices", indices);
        set(o, "shape", shape);
        set(o, "elements", whole(t->elements));
        cJSON_AddItemToArray(a, o);
    }
    return a;
}

static cJSON *formulas(const facts *f) {
    cJSON *o = object();
    set(o, "variable", f->variable ? text_value(f->variable) : enough(cJSON_CreateNull()));
    set(o, "found", enough(cJSON_CreateBool(f->fitted)));
    if (!f->variable)
        return o;
    set(o, "value", whole(f->value));
    if (f->fitted) {
        set(o, "valid_from", whole(f->valid_from));
        set(o, "valid_to", f->valid_to ? whole(f->valid_to) : enough(cJSON_CreateNull()));
        set(o, "multiple_of", whole(f->multiple_of));
    }
    return o;
}

static cJSON *asymptotic(const facts *f) {
    cJSON *o = object(), *factors = array();
    char text[256];
    report_asymptotic(f, text, sizeof text);
    bool known = f->fitted && !f->valid_to;
    set(o, "text", known ? text_value(text) : enough(cJSON_CreateNull()));
    if (known)
        set(o, "degree", whole(f->degree));
    for (unsigned i = 0; i < f->factor_count; i++)
        cJSON_AddItemToArray(factors, text_value(f->factor[i]));
    set(o, "factors", factors);
    return o;
}

static cJSON *causal(const facts *f) {
    static const char *const kind[] = {"no time index", "proved", "refuted", "not proved"};
    const causality *c              = &f->causality;
    cJSON *o                        = object();
    index_id time                   = causality_time(f->g);
    set(o, "result", text_value(kind[c->kind]));
    set(o, "index", time < GRAPH_INDICES ? text_value(graph_index_name(f->g, time)) : enough(cJSON_CreateNull()));
    if (c->kind == CAUSALITY_REFUTED || c->kind == CAUSALITY_UNPROVED) {
        set(o, "output", text_value(graph_output(f->g, c->output)->name));
        set(o, "input", text_value(graph_tensor(f->g, c->tensor)->name));
        const char *name = report_place(f->g, c->culprit);
        if (name)
            set(o, "lost_at", text_value(name));
    }
    if (c->kind != CAUSALITY_REFUTED)
        return o;
    set(o, "at", whole(c->at));
    set(o, "depends_on", whole(c->depends));
    set(o, "of", whole(c->extent));
    set(o, "other_sizes_shrunk", enough(cJSON_CreateBool(c->shrunk)));
    return o;
}

static cJSON *one(const entry *e) {
    const facts *f = e->facts;
    cJSON *o = object(), *sizes = object(), *assumed = array(), *tokens = object();
    notes all;
    set(o, "name", text_value(e->name));
    set(o, "title", text_value(e->title));
    set(o, "path", text_value(e->path));
    set(o, "about", text_value(f->comment));
    for (unsigned i = 0; i < f->sizes.count; i++)
        set(sizes, f->sizes.item[i].name, whole(f->sizes.item[i].value));
    set(o, "sizes", sizes);
    set(o, "parameters", whole(f->parameters));
    set(o, "parameter_list", parameters(f->g));
    set(tokens, "indices", index_names(f->g, f->token_indices));
    set(tokens, "count", whole(f->total[QUANTITY_TOKENS]));
    set(o, "tokens", tokens);
    set(o, "formulas", formulas(f));
    set(o, "flops", amount(f, QUANTITY_OPERATIONS));
    set(o, "special", amount(f, QUANTITY_SPECIAL));
    set(o, "comparisons", amount(f, QUANTITY_COMPARISONS));
    set(o, "loss_flops", amount(f, QUANTITY_LOSS));
    set(o, "bytes", amount(f, QUANTITY_COMPULSORY));
    set(o, "bytes_kept", amount(f, QUANTITY_KEPT));
    set(o, "exact", enough(cJSON_CreateBool(f->counted)));
    set(o, "asymptotic", asymptotic(f));
    set(o, "causality", causal(f));
    report_notes(f, &all);
    for (unsigned i = 0; i < all.count; i++)
        cJSON_AddItemToArray(assumed, text_value(all.text[i]));
    set(o, "assumptions", assumed);
    return o;
}

void report_json(const entry *e, size_t count, char *const *failed, size_t failed_count, FILE *file) {
    cJSON *o = object(), *mechanisms = array(), *bad = array();
    set(o, "attnc", text_value(ATTNC_VERSION));
    for (size_t i = 0; i < count; i++)
        cJSON_AddItemToArray(mechanisms, one(&e[i]));
    for (size_t i = 0; i < failed_count; i++)
        cJSON_AddItemToArray(bad, text_value(failed[i]));
    set(o, "mechanisms", mechanisms);
    set(o, "failed", bad);
    char *text = enough(cJSON_Print(o));
    fprintf(file, "%s\n", text);
    cJSON_free(text);
    cJSON_Delete(o);
}
