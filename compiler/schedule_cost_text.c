/* Costs for people to read. */
#include "schedule_cost.h"

void schedule_print_amount(uint64_t amount, const char *unit, FILE *file) {
    static const char *const power[] = {"", "k", "M", "G", "T", "P", "E"};
    double x                         = (double)amount;
    unsigned k                       = 0;
    while (x >= 999.5 && k + 1 < sizeof power / sizeof *power) {
        x /= 1000;
        k++;
    }
    int digits = k == 0 || x >= 99.95 ? 0 : x >= 9.995 ? 1 : 2;
    fprintf(file, "%.*f%s%s%s", digits, x, k || *unit ? " " : "", power[k], unit);
}

/* What there is none of is left out. */
static void print_part(uint64_t amount, const char *unit, const char *what, FILE *file) {
    if (!amount)
        return;
    schedule_print_amount(amount, unit, file);
    fputs(what, file);
}

void schedule_cost_print(const step_cost *c, FILE *file) {
    print_part(c->matrix, "FLOP", " matrix, ", file);
    print_part(c->exponential, "", " exp, ", file);
    print_part(c->other, "", " other, ", file);
    fputs("reads ", file);
    schedule_print_amount(c->read, "B", file);
    fputs(", writes ", file);
    schedule_print_amount(c->written, "B", file);
    if (c->tiles) {
        fputs(", tiles ", file);
        schedule_print_amount(c->tiles, "B", file);
    }
}
