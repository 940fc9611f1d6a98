/* SPDX-License-Identifier: Apache-2.0 */
#include "store_behaviour.h"
#include "store_threads.h"

#include "stores/memory_store.h"

static int open_store(const pra_alloc *alloc, const pra_store_opts *opts, pra_storage *out,
                      pra_error *err)
{
    return pra_store_open(alloc, STR("memory:"), opts, out, err);
}

static void remove_store(void) {}

static void addresses(void **state)
{
    (void)state;
    pra_storage store;
    pra_error err = {0};
    assert_int_equal(pra_store_open(NULL, STR("memory:x"), NULL, &store, &err),
                     PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_store_open(NULL, STR("memory"), NULL, &store, &err), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_store_open(NULL, STR(""), NULL, &store, &err), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_store_open(NULL, STR("sqlite:"), NULL, &store, &err), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_store_open(NULL, STR("redis:"), NULL, &store, &err), PRA_ERR_INVALID_ARG);
    assert_non_null(strstr(err.message, "redis:"));
}

static void retention_in_tiny_steps(void **state)
{
    struct fixture *f = *state;
    mem_store *store = f->store.self;
    for (int tenant = 0; tenant < 2; tenant++) {
        f->context.tenant = cstr(tenant ? "t" : "");
        for (int i = 0; i < 5; i++) {
            char labels[32];
            snprintf(labels, sizeof labels, "a=%d,b=x", i);
            add_series(f, labels);
            for (int t = 0; t <= i; t++)
                add_sample(f, t * 10, t);
        }
        write_ok(f);
    }
    int steps = 1;
    while (!pra__mem_retention_step(store, before(30), 1))
        steps++;
    assert_true(steps >= 10);
    for (int tenant = 0; tenant < 2; tenant++) {
        f->context.tenant = cstr(tenant ? "t" : "");
        assert_string_equal(QUERY(f, "b=x"), "a=3,b=x 30:3\na=4,b=x 30:3 40:4\n");
        assert_string_equal(QUERY(f, "a=~1|2|3"), "a=3,b=x 30:3\n");
        write_one(f, "a=1,b=x", 50, 5); /* a series that was gone */
        assert_string_equal(QUERY(f, "a=1"), "a=1,b=x 50:5\n");
    }
    assert_int_equal(atomic_load(&store->series_count), 6);
    assert_int_equal(atomic_load(&store->stats[PRA_DATUM_SAMPLE].held), 8);
}

static void retention_takes_all_kinds(void **state)
{
    struct fixture *f = *state;
    mem_store *store = f->store.self;
    uint64_t empty = atomic_load(&store->bytes);
    for (int i = 0; i < 3; i++) {
        char labels[32];
        snprintf(labels, sizeof labels, "a=%d", i);
        add_series(f, labels);
        add_histogram(f, 10, 1);
        add_histogram(f, 20, 2);
        add_exemplar(f, "trace_id=x", 10, 1);
        add_exemplar(f, "trace_id=x", i == 2 ? 40 : 20, 1);
        if (i)
            add_sample(f, 30, 3);
    }
    write_ok(f);
    assert_int_equal(pra__mem_retention_step(store, (pra__cutoffs){INT64_MIN, 20}, 100), 1);
    assert_true(metric(f, "exemplars") == 3 && metric(f, "histograms") == 6);
    assert_int_equal(pra__mem_retention_step(store, before(30), 100), 1);
    assert_string_equal(QUERY(f, "a!="), "a=1 30:3\na=2 30:3\n");
    assert_true(metric(f, "exemplars") == 1 && metric(f, "histograms") == 0);
    assert_true(metric(f, "expired_histograms_total") == 6);
    assert_int_equal(pra__mem_retention_step(store, (pra__cutoffs){31, 40}, 100), 1);
    assert_true(metric(f, "series") == 1); /* for its exemplar */
    assert_int_equal(pra__mem_retention_step(store, before(41), 100), 1);
    assert_true(metric(f, "series") == 0);
    assert_in_range(metric(f, "bytes"), empty, empty + 4096); /* tables keep their size */
}

static void a_retention_step(struct fixture *f)
{
    pra__mem_retention_step(f->store.self, before(-1), 10);
}

static void writers_readers_and_retention_at_once(void **state)
{
    assert_int_equal(run_writers(*state, a_retention_step), WRITERS * REQUESTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_BEHAVIOUR,
        cmocka_unit_test(addresses),
        STORE_TEST(retention_in_tiny_steps),
        STORE_TEST(retention_takes_all_kinds),
        STORE_TEST(writers_readers_and_retention_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
