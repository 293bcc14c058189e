/* What passes that change a few nodes stand on: which nodes belong inside a scan's bodies, maps of nodes, replacement.
 */
#include "agree.h"
#include "node_map.h"
#include "rewrite.h"

/* A scan within the step of another is open as long as it reads the outer state; one that does not is not. */
static void open_nodes(void **state) {
    (void)state;
    fixture f   = make(4, 3);
    graph *g    = f.g;
    index_id n  = graph_index(g, "n", 2);
    node within = graph_previous(g, n, false, bit(f.t) | bit(f.d), TYPE_FLOAT); /* before the outer's, on purpose */
    node beside = graph_previous(g, n, true, bit(f.t) | bit(f.d), TYPE_FLOAT);
    node outer  = graph_previous(g, f.t, false, bit(f.d), TYPE_FLOAT);
    node one    = graph_float(g, 1);
    node inner  = graph_scan(g, within, one, graph_mul(g, within, graph_add(g, outer, f.a)));
    node alone  = graph_scan(g, beside, f.b, graph_mul(g, beside, f.a));
    node last   = graph_int(g, 1);
    node body   = graph_add(g, graph_gather(g, inner, 1, &n, &last), graph_gather(g, alone, 1, &n, &last));
    node scan   = graph_scan(g, outer, one, body);
    assert_true(graph_is_open(g, within) && graph_is_open(g, outer) && graph_is_open(g, inner));
    assert_true(graph_is_open(g, body) && graph_is_open(g, graph_add(g, inner, one)));
    assert_false(graph_is_open(g, alone) || graph_is_open(g, scan) || graph_is_open(g, f.a));
    assert_false(graph_is_open(g, graph_scan_before(g, scan)));
    /* a scan that begins with another's state */
    node first = graph_previous(g, n, false, bit(f.t) | bit(f.d), TYPE_FLOAT);
    assert_true(graph_is_open(g, graph_scan(g, first, outer, graph_mul(g, first, f.a))));
    graph_free(g);
}

static void fill_and_find(node_map *map) {
    assert_null(node_map_find(map, 5));
    for (node n = 1; n <= 3000; n += 3)
        node_map_enter(map, n)->value = n + 7;
    node_map_enter(map, 4)->value = 1;
    assert_int_equal(map->count, 1000);
    for (node n = 1; n <= 4000; n++) {
        const node_entry *e = node_map_find(map, n);
        assert_int_equal(e != NULL, n <= 3000 && n % 3 == 1);
        if (e)
            assert_int_equal(e->value, n == 4 ? 1 : n + 7);
    }
    assert_int_equal(map->entry[999].key, 2998);
    node_map_free(map);
}

static void maps(void **state) {
    (void)state;
    node_map map = {0}, direct = node_map_direct(3000), far = {0};
    fill_and_find(&map);
    fill_and_find(&direct);
    for (node n = 0; n < 64; n++) /* the same places of small tables */
        node_map_enter(&far, 1 + (n << 20))->value = n + 1;
    for (node n = 0; n < 64; n++)
        assert_int_equal(node_map_find(&far, 1 + (n << 20))->value, n + 1);
    node_map_free(&far);
}

/* A node inside a scan is replaced there, and the scan gets states of its own; its own states are replaced only
 * outside. What does not contain what is replaced stays. */
static void replaced(void **state) {
    (void)state;
    fixture f  = make(4, 3);
    graph *g   = f.g;
    node p     = graph_previous(g, f.t, false, bit(f.d), TYPE_FLOAT);
    node scan  = graph_scan(g, p, graph_float(g, 0), graph_add(g, graph_mul(g, p, f.a), f.b));
    node other = graph_mul(g, f.b, f.b), root[] = {graph_mul(g, scan, f.a), other, NODE_NONE, graph_add(g, p, scan)};
    node from = f.a, to = graph_mul(g, f.b, graph_float(g, 2)), kept = root[3];
    rewrite_replace(g, 1, &from, &to, 3, root);
    node made = graph_view(g, root[0]).child[0];
    if (graph_view(g, made).op != NODE_SCAN)
        made = graph_view(g, root[0]).child[1];
    assert_true(made != scan && graph_view(g, made).op == NODE_SCAN);
    node leaf = graph_scan_leaf(g, graph_view(g, made).scan_label, 0);
    assert_true(leaf != p);
    assert_int_equal(graph_scan_body(g, made), graph_add(g, graph_mul(g, leaf, to), f.b));
    assert_int_equal(root[1], other);
    assert_int_equal(root[2], NODE_NONE);
    node before = graph_scan_before(g, scan);
    rewrite_replace(g, 1, &p, &before, 1, &kept);
    assert_int_equal(kept, graph_add(g, before, scan));
    give(g, "root", root[0]);
    give(g, "kept", kept);
    agree(&f, 1e-5);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(open_nodes), cmocka_unit_test(maps),
                                       cmocka_unit_test(replaced)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
