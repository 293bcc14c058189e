/* What conditions and bounds are where a walk stands: intervals, which are single values unless data decide. */
#include "schedule_cost_internal.h"

static const int64_t MOST = (int64_t)1 << 60;

enum { DEPTH = 64 };

static int64_t limited(__int128_t x) {
    return x > MOST ? MOST : x < -MOST ? -MOST : (int64_t)x;
}

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static span single(int64_t x) {
    return (span){x, x};
}

static bool is_single(span x) {
    return x.low == x.high;
}

static span anything(const graph *g, node n) {
    node_view v = graph_view(g, n);
    if (v.type == TYPE_BOOL)
        return (span){0, 1};
    if (v.op == NODE_TENSOR && v.type == TYPE_INT)
        return (span){0, graph_tensor(g, v.tensor)->below - 1};
    return (span){-MOST, MOST};
}

static int64_t floored(int64_t a, int64_t b) {
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static span times(span a, span b) {
    span x = single(limited((__int128_t)a.low * b.low));
    for (int k = 1; k < 4; k++) {
        int64_t one = limited((__int128_t)(k & 1 ? a.high : a.low) * (k & 2 ? b.high : b.low));
        x           = (span){smaller(x.low, one), larger(x.high, one)};
    }
    return x;
}

static span less(span a, span b, bool or_equal) {
    if (or_equal)
        return (span){a.high <= b.low, a.low <= b.high};
    return (span){a.high < b.low, a.low < b.high};
}

static span equal(span a, span b) {
    if (is_single(a) && is_single(b))
        return single(a.low == b.low);
    return (span){0, a.low <= b.high && b.low <= a.high};
}

static span absolute(span a) {
    int64_t most = larger(-a.low, a.high);
    return (span){a.low > 0 ? a.low : a.high < 0 ? -a.high : 0, most};
}

/* Of an INT or BOOL operation; both are given, c only to SELECT. */
static span operation(node_op op, span a, span b, span c, span unknown) {
    switch (op) {
    case NODE_ADD:
        return (span){limited((__int128_t)a.low + b.low), limited((__int128_t)a.high + b.high)};
    case NODE_SUB:
        return (span){limited((__int128_t)a.low - b.high), limited((__int128_t)a.high - b.low)};
    case NODE_NEG:
        return (span){-a.high, -a.low};
    case NODE_MUL:
        return times(a, b);
    case NODE_DIV:
        if (is_single(b) && b.low > 0)
            return (span){floored(a.low, b.low), floored(a.high, b.low)};
        return unknown;
    case NODE_MOD:
        if (!is_single(b) || b.low <= 0)
            return unknown;
        if (floored(a.low, b.low) == floored(a.high, b.low))
            return (span){a.low - floored(a.low, b.low) * b.low, a.high - floored(a.high, b.low) * b.low};
        return (span){0, b.low - 1};
    case NODE_MINIMUM:
        return (span){smaller(a.low, b.low), smaller(a.high, b.high)};
    case NODE_MAXIMUM:
        return (span){larger(a.low, b.low), larger(a.high, b.high)};
    case NODE_ABS:
        return absolute(a);
    case NODE_LESS:
        return less(a, b, false);
    case NODE_LESS_EQUAL:
        return less(a, b, true);
    case NODE_EQUAL:
        return equal(a, b);
    case NODE_AND:
        return (span){a.low && b.low, a.high && b.high};
    case NODE_OR:
        return (span){a.low || b.low, a.high || b.high};
    case NODE_NOT:
        return (span){!a.high, !a.low};
    case NODE_SELECT:
        if (is_single(a))
            return a.low ? b : c;
        return (span){smaller(b.low, c.low), larger(b.high, c.high)};
    case NODE_STOP:
        return a;
    default:
        return unknown;
    }
}

static span evaluate(const place *p, node n, unsigned depth) {
    node_view v = graph_view(p->g, n);
    index_id i;
    switch (v.op) {
    case NODE_INT:
        return single(v.integer);
    case NODE_INDEX:
        i = (index_id)__builtin_ctzll(v.vars);
        return p->open >> i & 1 ? single(p->at[i]) : (span){p->begin[i], p->end[i] - 1};
    case NODE_BEGIN:
        return single(p->begin[v.scan_index]);
    case NODE_END:
        return single(p->end[v.scan_index]);
    default:
        break;
    }
    span unknown = anything(p->g, n), x[3] = {{0, 0}, {0, 0}, {0, 0}};
    if (!graph_op_is_pointwise(v.op) || depth == 0 || v.type == TYPE_FLOAT)
        return unknown;
    for (unsigned k = 0; k < v.child_count; k++)
        x[k] =
            graph_view(p->g, v.child[k]).type == TYPE_FLOAT ? (span){-MOST, MOST} : evaluate(p, v.child[k], depth - 1);
    /* a real number between -MOST and MOST would be less than MOST: nothing is known of it */
    bool real = v.child_count && graph_view(p->g, v.child[v.child_count - 1]).type == TYPE_FLOAT;
    return real ? unknown : operation(v.op, x[0], x[1], x[2], unknown);
}

span range_evaluate(const place *p, node n) {
    return evaluate(p, n, DEPTH);
}

index_set range_indices(const graph *g, node n) {
    node_view v     = graph_view(g, n);
    index_set found = v.op == NODE_INDEX ? v.vars : 0;
    for (unsigned i = 0; graph_op_is_pointwise(v.op) && i < v.child_count && i < 3; i++)
        found |= v.free ? range_indices(g, graph_view(g, n).child[i]) : 0;
    return found;
}

int64_t range_length(const place *p, index_id i) {
    return larger(p->end[i] - p->begin[i], 0);
}

/* Does n change by the same number whenever var moves by one? */
static bool is_linear(const graph *g, node n, index_id var, int *slope) {
    node_view v = graph_view(g, n);
    int a = 0, b = 0;
    *slope = 0;
    if (!(v.free >> var & 1))
        return true;
    switch (v.op) {
    case NODE_INDEX:
        *slope = 1;
        return true;
    case NODE_ADD:
    case NODE_SUB:
        if (!is_linear(g, v.child[0], var, &a) || !is_linear(g, v.child[1], var, &b))
            return false;
        *slope = v.op == NODE_ADD ? a + b : a - b;
        return true;
    case NODE_NEG:
        if (!is_linear(g, v.child[0], var, &a))
            return false;
        *slope = -a;
        return true;
    default:
        return false;
    }
}

unsigned range_bounds(const schedule *s, node domain, index_id var, bound *out, unsigned room) {
    if (!domain || !room || s->buffer_of[domain] != NO_BUFFER)
        return 0;
    node_view v = graph_view(s->graph, domain);
    if (v.op == NODE_AND) {
        unsigned count = range_bounds(s, v.child[0], var, out, room);
        return count + range_bounds(s, v.child[1], var, out + count, room - count);
    }
    int x, y;
    if ((v.op != NODE_LESS && v.op != NODE_LESS_EQUAL) || graph_view(s->graph, v.child[0]).type != TYPE_INT ||
        graph_view(s->graph, v.child[1]).type != TYPE_INT || !is_linear(s->graph, v.child[0], var, &x) ||
        !is_linear(s->graph, v.child[1], var, &y) || (x - y != 1 && y - x != 1))
        return 0;
    *out = (bound){v.child[0], v.child[1], x - y, v.op == NODE_LESS_EQUAL};
    return 1;
}

int64_t range_left(place *p, index_id var, const bound *bounds, unsigned count) {
    int64_t low = p->begin[var], high = p->end[var];
    bool open   = p->open >> var & 1;
    int64_t was = p->at[var];
    p->open |= (index_set)1 << var;
    p->at[var] = 0;
    for (unsigned i = 0; i < count; i++) { /* slope · var + (x - y at 0) < one */
        span x = range_evaluate(p, bounds[i].x), y = range_evaluate(p, bounds[i].y);
        int64_t rest = limited((__int128_t)x.low - y.high), one = bounds[i].or_equal;
        if (bounds[i].slope == 1)
            high = smaller(high, one - rest);
        else
            low = larger(low, rest - one + 1);
    }
    p->at[var] = was;
    if (!open)
        p->open &= ~((index_set)1 << var);
    return larger(high - low, 0);
}
