/* SPDX-License-Identifier: Apache-2.0 */
#include "store_behaviour.h"

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
    while (!pra__mem_retention_step(store, 30, 1))
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
    assert_int_equal(atomic_load(&store->sample_count), 8);
}

static void a_retention_step(struct fixture *f)
{
    pra__mem_retention_step(f->store.self, -1, 10);
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
        STORE_TEST(writers_readers_and_retention_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
