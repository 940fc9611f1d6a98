/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "message/columns.h"
#include "support/failing_alloc.h"
#include "support/text.h"

static void growth_doubles_and_is_cut_to_the_budget(void **state)
{
    struct failing_alloc f;
    struct pra__columns c;
    (void)state;
    failing_alloc_init(&f);
    pra__columns_init(&c, &f.alloc);
    c.budget = 1000;
    assert_int_equal(pra__columns_reserve(&c, PRA__COL_VALUES, PRA__COL_VALUES, 1), PRA_OK);
    assert_int_equal(c.col[PRA__COL_VALUES].cap, 16);
    assert_int_equal(pra__columns_reserve(&c, PRA__COL_VALUES, PRA__COL_VALUES, 17), PRA_OK);
    assert_int_equal(c.col[PRA__COL_VALUES].cap, 32);
    assert_int_equal(pra__columns_reserve(&c, PRA__COL_VALUES, PRA__COL_VALUES, 33), PRA_OK);
    assert_int_equal(c.col[PRA__COL_VALUES].cap, 64);
    /* 512 bytes are held: old and new together must fit into 1000. */
    assert_int_equal(pra__columns_reserve(&c, PRA__COL_VALUES, PRA__COL_VALUES, 65),
                     PRA_ERR_MEMORY_BUDGET);
    assert_int_equal(c.held, 512);
    assert_int_equal(pra__columns_reserve(&c, PRA__COL_LABELS, PRA__COL_LABELS, 20), PRA_OK);
    assert_int_equal(pra__columns_reserve(&c, PRA__COL_METADATA, PRA__COL_METADATA, 1), PRA_OK);
    assert_int_equal(c.col[PRA__COL_METADATA].cap, (1000 - 512 - 320) / sizeof(pra_metadata));
    assert_true(f.peak <= 1000);
    assert_int_equal(f.live, c.held);
    pra__columns_fini(&c);
    assert_int_equal(f.live, 0);
    assert_int_equal(c.held, 0);
    assert_int_equal(f.wrong_size, 0);
}

static void a_guess_never_takes_much_of_the_budget(void **state)
{
    struct failing_alloc f;
    struct pra__columns c;
    (void)state;
    failing_alloc_init(&f);
    pra__columns_init(&c, &f.alloc);
    c.budget = 16000;
    pra__columns_expect(&c, PRA__COL_LABELS, PRA__COL_LABELS, 63);
    assert_int_equal(c.col[PRA__COL_LABELS].cap, 0);
    pra__columns_expect(&c, PRA__COL_LABELS, PRA__COL_LABELS, 60);
    assert_int_equal(c.col[PRA__COL_LABELS].cap, 60);
    pra__columns_expect(&c, PRA__COL_LABELS, PRA__COL_LABELS, 61);
    assert_int_equal(c.col[PRA__COL_LABELS].cap, 60);
    c.budget = 100; /* less than is held */
    pra__columns_expect(&c, PRA__COL_TEXT, PRA__COL_TEXT, 1);
    assert_int_equal(c.col[PRA__COL_TEXT].cap, 0);
    pra__columns_fini(&c);
}

static void reset_gives_the_largest_columns_back(void **state)
{
    struct failing_alloc f;
    struct pra__columns c;
    (void)state;
    failing_alloc_init(&f);
    pra__columns_init(&c, &f.alloc);
    assert_int_equal(pra__columns_reserve(&c, PRA__COL_TEXT, PRA__COL_TEXT, 1000), PRA_OK);
    assert_int_equal(pra__columns_reserve(&c, PRA__COL_LABELS, PRA__COL_LABELS, 200), PRA_OK);
    pra__columns_reset(&c, 4200);
    assert_int_equal(c.held, 4200);
    pra__columns_reset(&c, 4199);
    assert_int_equal(c.held, 1000);
    pra__columns_reset(&c, 0);
    assert_int_equal(f.live, 0);
    pra__columns_fini(&c);
}

static void callers_of_other_versions_are_served(void **state)
{
    struct pra__columns c;
    pra__columns_init(&c, NULL);
    (void)state;
    /* Older: shorter, what is behind it is not touched. */
    const size_t old = offsetof(pra_columns, label_offsets);
    unsigned char *bytes = malloc(old); /* exact: an over-run is seen by ASan */
    assert_non_null(bytes);
    memcpy(bytes, &old, sizeof(old));
    assert_int_equal(pra__columns_view(&c, (pra_columns *)(void *)bytes), PRA_OK);
    assert_memory_equal(bytes, &old, sizeof(old));
    free(bytes);
    /* Newer: longer, what is not known becomes zero. */
    struct {
        pra_columns known;
        uint64_t unknown;
    } newer;
    memset(&newer, 0xFF, sizeof(newer));
    newer.known.size = sizeof(newer);
    assert_int_equal(pra__columns_view(&c, &newer.known), PRA_OK);
    assert_int_equal(newer.unknown, 0);
    assert_int_equal(newer.known.size, sizeof(newer));
    assert_int_equal(newer.known.label_offsets[0], 0);
    newer.known.size = 4;
    assert_int_equal(pra__columns_view(&c, &newer.known), PRA_ERR_INVALID_ARG);
    pra__columns_fini(&c);
}

static void a_series_is_its_part_of_each_column(void **state)
{
    static const char message[] = "\x0a\x10"
                                  "\x0a\x06\x0a\x01"
                                  "a\x12\x01"
                                  "b\x12\x02\x10\x05\x12\x02\x10\x06"
                                  "\x0a\x00"
                                  "\x0a\x08\x1a\x00\x22\x00\x12\x02\x10\x07";
    pra_write_request *req;
    pra_columns c = {.size = sizeof(c)};
    pra_series s = {.size = sizeof(s)};
    (void)state;
    assert_int_equal(pra_write_request_new(NULL, &req), PRA_OK);
    assert_int_equal(
        pra_write_request_decode(req, PRA_WRITE_V1, message, sizeof(message) - 1, NULL, NULL),
        PRA_OK);
    assert_int_equal(pra_write_request_columns(req, &c), PRA_OK);
    assert_int_equal(c.series_count, 3);
    assert_int_equal(pra_columns_series(&c, 0, &s), PRA_OK);
    assert_int_equal(s.label_count, 1);
    assert_int_equal(s.sample_count, 2);
    assert_int_equal(s.timestamps_ms[1], 6);
    assert_memory_equal(s.base + s.labels[0].value.off, "b", 1);
    assert_int_equal(pra_columns_series(&c, 1, &s), PRA_OK);
    assert_int_equal(s.label_count + s.sample_count + s.histogram_count + s.exemplars.count, 0);
    assert_int_equal(pra_columns_series(&c, 2, &s), PRA_OK);
    assert_int_equal(s.timestamps_ms[0], 7);
    assert_int_equal(s.exemplars.start, 0);
    assert_int_equal(s.exemplars.count, 1);
    assert_ptr_equal(s.histograms, c.histograms);
    assert_int_equal(pra_columns_series(&c, 3, &s), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_columns_series(NULL, 0, &s), PRA_ERR_INVALID_ARG);
    pra_write_request_free(req);
}

/* Golden values: XXH64 of the bytes with seed 0, as of Prometheus' labels.Hash. */
static void fingerprints_are_stable(void **state)
{
    static const char base[] = "__name__upjobnode";
    static const pra_label_span labels[] = {{{0, 8}, {8, 2}}, {{10, 3}, {13, 4}}};
    (void)state;
    assert_true(pra_labels_fingerprint(NULL, NULL, 0) == UINT64_C(0xef46db3751d8e999));
    assert_true(pra_labels_fingerprint(base, labels, 2) == UINT64_C(0x01585e2399cc2df6));
    /* The order given counts. */
    const pra_label_span swapped[] = {labels[1], labels[0]};
    assert_true(pra_labels_fingerprint(base, swapped, 2) !=
                pra_labels_fingerprint(base, labels, 2));
}

/* Around the size at which bytes are hashed in pieces. */
static void long_labels_hash_as_their_bytes(void **state)
{
    static char base[5000];
    (void)state;
    for (size_t i = 0; i < sizeof(base); i++)
        base[i] = (char)('a' + i % 26);
    static const struct {
        uint32_t name;
        uint32_t value;
        uint64_t hash;
    } rows[] = {
        {1, 1, UINT64_C(0xaf1d82ddc98ce81a)},       {500, 521, UINT64_C(0x4394c36a38e6854c)},
        {500, 522, UINT64_C(0xea7bb3cac2f0cc35)},   {500, 523, UINT64_C(0x534c5f050e11cfae)},
        {1023, 0, UINT64_C(0xef83fba4cb02c53b)},    {1024, 1, UINT64_C(0x1cfc5640e90495d9)},
        {2000, 3000, UINT64_C(0x8b67e2f527e9598e)}, {1022, 4000, UINT64_C(0x4019a10ccfc6ade4)}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const pra_label_span label = {{0, rows[i].name}, {7, rows[i].value}};
        assert_true(pra_labels_fingerprint(base, &label, 1) == rows[i].hash);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(growth_doubles_and_is_cut_to_the_budget),
        cmocka_unit_test(a_guess_never_takes_much_of_the_budget),
        cmocka_unit_test(reset_gives_the_largest_columns_back),
        cmocka_unit_test(callers_of_other_versions_are_served),
        cmocka_unit_test(a_series_is_its_part_of_each_column),
        cmocka_unit_test(fingerprints_are_stable),
        cmocka_unit_test(long_labels_hash_as_their_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
