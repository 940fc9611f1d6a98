/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/sort.h"

struct item {
    uint32_t key;
    uint32_t id;
};

/* By key in the direction of *arg, then by id. */
static int compare(const void *a, const void *b, const void *arg)
{
    const struct item *x = a;
    const struct item *y = b;
    int order = (x->key > y->key) - (x->key < y->key);
    return order ? order * *(const int *)arg : (x->id > y->id) - (x->id < y->id);
}

static void sorts_every_length_and_loses_nothing(void **state)
{
    (void)state;
    struct item items[200];
    uint32_t random = 1;
    for (size_t n = 0; n <= 200; n++)
        for (int direction = -1; direction <= 1; direction += 2) {
            uint64_t sum = 0;
            for (size_t i = 0; i < n; i++) {
                random = random * 1664525 + 1013904223;
                items[i] = (struct item){(random >> 16) % 50, (uint32_t)i};
                sum += (uint64_t)items[i].key * 1000 + items[i].id;
            }
            pra__sort(items, n, sizeof(*items), compare, &direction);
            for (size_t i = 0; i < n; i++) {
                sum -= (uint64_t)items[i].key * 1000 + items[i].id;
                if (i)
                    assert_true(compare(&items[i - 1], &items[i], &direction) < 0);
            }
            assert_true(sum == 0);
        }
}

static int compare_counted(const void *a, const void *b, const void *arg)
{
    (**(size_t *const *)arg)++;
    const uint32_t *x = a;
    const uint32_t *y = b;
    return (*x > *y) - (*x < *y);
}

static void what_is_in_order_costs_one_pass(void **state)
{
    (void)state;
    uint32_t items[100];
    size_t comparisons = 0, *counter = &comparisons;
    for (size_t n = 0; n <= 100; n++) {
        for (size_t i = 0; i < n; i++)
            items[i] = (uint32_t)i / 3; /* equal ones are in order */
        comparisons = 0;
        pra__sort(items, n, sizeof(*items), compare_counted, &counter);
        assert_int_equal(comparisons, n ? n - 1 : 0);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(items[i], i / 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sorts_every_length_and_loses_nothing),
        cmocka_unit_test(what_is_in_order_costs_one_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
