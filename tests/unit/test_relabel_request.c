/* SPDX-License-Identifier: Apache-2.0 */
/* Whole series from one request to another: relabelled, copied, split. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pra.h"
#include "support/failing_alloc.h"
#include "support/relabelling.h"
#include "unit/write_fixture.h"

/* A rule says what it is about, and no more. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

/* ── Requests ── */

static int add(pra_write_request *req, const char *text)
{
    pra_label labels[SHORT_LABELS];
    const size_t count = labels_of(text, labels);
    return pra_write_request_add_series(req, labels, count);
}

static int add_sample(pra_write_request *req, int64_t timestamp_ms, double value, int64_t start_ms)
{
    return pra_write_request_add_samples(req, &timestamp_ms, &value, &start_ms, 1);
}

/* A series that has one of everything. */
static int add_rich(pra_write_request *req, const char *text, int64_t time)
{
    static const uint8_t histogram[] = {0x08, 0x03, 0x19, 0,    0,    0,    0,
                                        0,    0,    0x08, 0x40, 0x5A, 0x02, 0x10,
                                        0x02, 0x62, 0x02, 0x02, 0x02, 0x78, 0x05};
    static const pra_label trace[] = {{{"trace", 5}, {"0123", 4}}};
    int rc = add(req, text);
    if (rc == PRA_OK)
        rc = add_sample(req, time, 1.5, time - 1);
    if (rc == PRA_OK)
        rc = pra_write_request_add_histogram_encoded(req, histogram, sizeof(histogram), NULL);
    if (rc == PRA_OK)
        rc = pra_write_request_add_exemplar(req, trace, 1, time, 2.5);
    if (rc == PRA_OK)
        rc = pra_write_request_add_metadata(req, PRA_METRIC_COUNTER, (pra_str){NULL, 0},
                                            STR("what it is"), STR("s"));
    return rc;
}

static int fill(pra_write_request *req)
{
    int rc = add_rich(req, "__name__=a|instance=h1:80|job=x", 1000);
    if (rc == PRA_OK)
        rc = add(req, "__name__=go_b|instance=h1:80");
    if (rc == PRA_OK)
        rc = add_sample(req, 2000, 2.5, 0);
    if (rc == PRA_OK)
        rc = add_rich(req, "__name__=c|instance=h2:80|job=x", 3000);
    return rc;
}

static int fill_expected(pra_write_request *req)
{
    int rc = add_rich(req, "__name__=a|host=h1|job=x", 1000);
    return rc ? rc : add_rich(req, "__name__=c|host=h2|job=x", 3000);
}

static const struct short_rule rules[] = {{"drop", "__name__", "go_.*"},
                                          {"replace", "instance", "(.*):.*", "host", "$1"},
                                          {"labeldrop", NULL, "instance"},
                                          {NULL}};

/* The same request, decoded: of the version, or 0 as it was built. */
static int decoded(pra_write_request *built, int32_t version, struct text *bytes,
                   pra_write_request **out)
{
    *out = built;
    if (version == 0)
        return PRA_OK;
    *bytes = encoding_of(built, version);
    *out = new_request(NULL);
    int rc = pra_write_request_decode(*out, version, bytes->data, bytes->len, NULL, NULL);
    pra_write_request_free(built);
    return rc;
}

static void assert_same_request(const pra_write_request *a, const pra_write_request *b)
{
    for (int32_t version = PRA_WRITE_V1; version <= PRA_WRITE_V2; version++) {
        struct text x = encoding_of(a, version), y = encoding_of(b, version);
        assert_same_text(&x, &y);
        text_free(&x);
        text_free(&y);
    }
}

static pra_relabel *compiled(const struct short_rule *list, const pra_limits *limits)
{
    pra_relabel *relabel;
    pra_error err = {0};
    int rc = relabel_of(NULL, list, limits, &relabel, &err);
#ifndef PRA_HAVE_RE2
    if (rc == PRA_ERR_NOT_SUPPORTED) /* what needs RE2 is passed over */
        skip();
#endif
    if (rc)
        fail_msg("%s", err.message);
    return relabel;
}

/* ── Relabelling ── */

static void whole_series_go_with_their_labels(void **state)
{
    pra_relabel *relabel = compiled(rules, NULL);
    (void)state;
    for (int32_t version = 0; version <= PRA_WRITE_V2; version++) {
        pra_write_request *req, *out = new_request(NULL), *expected = new_request(NULL);
        pra_write_request *built = new_request(NULL);
        struct text bytes = {0};
        uint64_t dropped = 99;
        assert_int_equal(fill(built), PRA_OK);
        assert_int_equal(decoded(built, version, &bytes, &req), PRA_OK);
        assert_int_equal(fill_expected(expected), PRA_OK);
        assert_int_equal(pra_write_request_relabel(req, relabel, out, &dropped, NULL), PRA_OK);
        assert_int_equal(dropped, 1);
        if (version != PRA_WRITE_V1) /* which has no start timestamps, nor metadata of series */
            assert_same_request(out, expected);
        pra_write_request_free(req);
        pra_write_request_free(out);
        pra_write_request_free(expected);
        text_free(&bytes);
    }
    pra_relabel_free(relabel);
}

static void one_without_a_name_is_left_out(void **state)
{
    static const struct short_rule list[] = {{"replace", "job", "x", "__name__", ""}, {NULL}};
    pra_write_request *req = new_request(NULL), *out = new_request(NULL);
    pra_relabel *relabel = compiled(list, NULL);
    pra_columns c = {.size = sizeof(c)};
    uint64_t dropped;
    (void)state;
    assert_int_equal(fill(req), PRA_OK);
    assert_int_equal(add(req, "instance=h3"), PRA_OK);
    assert_int_equal(pra_write_request_relabel(req, relabel, out, &dropped, NULL), PRA_OK);
    assert_int_equal(dropped, 3);
    assert_int_equal(pra_write_request_columns(out, &c), PRA_OK);
    assert_int_equal(c.series_count, 1);
    assert_int_equal(c.metadata_count, 0);
    assert_int_equal(c.exemplar_count, 0);
    pra_write_request_free(req);
    pra_write_request_free(out);
    pra_relabel_free(relabel);
}

static void more_is_added_behind_what_is_there(void **state)
{
    pra_write_request *req = new_request(NULL), *out = new_request(NULL);
    pra_write_request *expected = new_request(NULL);
    pra_relabel *relabel = compiled(rules, NULL);
    (void)state;
    assert_int_equal(fill(req), PRA_OK);
    assert_int_equal(
        pra_write_request_add_metadata(req, PRA_METRIC_GAUGE, STR("a"), STR("help"), STR("")),
        PRA_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pra_write_request_relabel(req, relabel, out, NULL, NULL), PRA_OK);
        assert_int_equal(fill_expected(expected), PRA_OK);
        assert_int_equal(pra_write_request_add_metadata(expected, PRA_METRIC_GAUGE, STR("a"),
                                                        STR("help"), STR("")),
                         PRA_OK);
    }
    assert_same_request(out, expected);
    pra_write_request_free(req);
    pra_write_request_free(out);
    pra_write_request_free(expected);
    pra_relabel_free(relabel);
}

/* What is remembered of earlier series, and forgotten for later ones, changes nothing. */
static void many_series_become_what_each_would(void **state)
{
    enum { SERIES = 12000 };
    static const struct short_rule list[] = {
        {"replace", "instance", "([^:]*):(.*)", "instance", "${2}_$1"},
        {"hashmod", "__name__,instance", NULL, "shard", .modulus = 1000},
        {"drop", "shard", "[0-9]?[0-9]"},
        {"labelmap", NULL, "in.*?(.)", NULL, "last_$1"},
        {"labeldrop", NULL, "x[0-4]+"},
        {"lowercase", "MiXed", NULL, "MiXed"},
        {NULL}};
    pra_write_request *req = new_request(NULL), *out = new_request(NULL);
    pra_relabel *relabel = compiled(list, NULL);
    pra_columns in = {.size = sizeof(in)}, c = {.size = sizeof(c)};
    pra_arena *arena;
    uint64_t random = 7, dropped;
    size_t at = 0;
    char text[200];
    (void)state;
    assert_int_equal(pra_arena_new(NULL, 0, &arena), PRA_OK);
    for (int i = 0; i < SERIES; i++) {
        (void)snprintf(text, sizeof(text), "MiXed=M%d|__name__=m%d|instance=h%d:%d|x%d=1", i % 3,
                       (int)random_below(&random, 50), (int)random_below(&random, 9000), i % 7,
                       (int)random_below(&random, 9));
        assert_int_equal(add(req, text), PRA_OK);
    }
    assert_int_equal(pra_write_request_relabel(req, relabel, out, &dropped, NULL), PRA_OK);
    assert_int_equal(pra_write_request_columns(req, &in), PRA_OK);
    assert_int_equal(pra_write_request_columns(out, &c), PRA_OK);
    assert_int_equal(c.series_count + dropped, SERIES);
    assert_in_range(dropped, SERIES / 20, SERIES / 5);
    for (size_t i = 0; i < SERIES; i++) {
        pra_label labels[8];
        const pra_label *left;
        size_t count = 0, left_count;
        for (size_t l = in.label_offsets[i]; l < in.label_offsets[i + 1]; l++)
            labels[count++] =
                (pra_label){{in.base + in.labels[l].name.off, in.labels[l].name.len},
                            {in.base + in.labels[l].value.off, in.labels[l].value.len}};
        pra_arena_reset(arena);
        int rc = pra_relabel_labels(relabel, labels, count, arena, &left, &left_count, NULL);
        if (rc == PRA_DONE)
            continue;
        assert_int_equal(rc, PRA_OK);
        assert_int_equal(c.label_offsets[at + 1] - c.label_offsets[at], left_count);
        for (size_t l = 0; l < left_count; l++) {
            const pra_label_span *span = c.labels + c.label_offsets[at] + l;
            assert_int_equal(span->name.len, left[l].name.len);
            assert_int_equal(span->value.len, left[l].value.len);
            assert_memory_equal(c.base + span->name.off, left[l].name.ptr, span->name.len);
            assert_memory_equal(c.base + span->value.off, left[l].value.ptr, span->value.len);
        }
        at++;
    }
    assert_int_equal(at, c.series_count);
    pra_arena_free(arena);
    pra_write_request_free(req);
    pra_write_request_free(out);
    pra_relabel_free(relabel);
}

static void a_failure_leaves_the_other_request_as_it_was(void **state)
{
    static const struct short_rule list[] = {
        {"replace", "instance", "(h2)(.*)", "instance", "$1$1$1$1$1$1"}, {NULL}};
    static const struct short_rule constant[] = {{"replace", NULL, NULL, "b", "01234567"}, {NULL}};
    pra_limits limits = {.size = sizeof(limits), .max_label_value_bytes = 10};
    pra_write_request *req = new_request(NULL), *out = new_request(NULL);
    pra_write_request *expected = new_request(NULL);
    pra_relabel *relabel = compiled(list, &limits);
    pra_error err = {0};
    uint64_t dropped = 99;
    (void)state;
    assert_int_equal(fill(req), PRA_OK);
    assert_int_equal(fill_expected(out), PRA_OK);
    assert_int_equal(fill_expected(expected), PRA_OK);
    assert_int_equal(pra_write_request_relabel(req, relabel, out, &dropped, &err),
                     PRA_ERR_LABEL_VALUE_LENGTH);
    assert_int_equal(dropped, 99);
    assert_string_equal(err.message,
                        "series 2: relabel rule 1 (replace) makes more than 10 bytes of a value "
                        "(max_label_value_bytes): change the rule or raise the limit");
    assert_same_request(out, expected);
    assert_int_equal(add_rich(out, "__name__=z", 1), PRA_OK);
    assert_int_equal(add_rich(expected, "__name__=z", 1), PRA_OK);
    assert_same_request(out, expected);
    pra_relabel_free(relabel);

    /* what one rule adds to many series is counted for each */
    limits = (pra_limits){.size = sizeof(limits), .max_memory_bytes = 10000};
    relabel = compiled(constant, &limits);
    for (int i = 0; i < 2000; i++)
        assert_int_equal(add(req, "__name__=a"), PRA_OK);
    assert_int_equal(pra_write_request_relabel(req, relabel, out, NULL, &err),
                     PRA_ERR_MEMORY_BUDGET);
    assert_same_request(out, expected);
    pra_relabel_free(relabel);
    pra_write_request_free(req);
    pra_write_request_free(out);
    pra_write_request_free(expected);
}

static void only_another_request_that_is_built_takes_them(void **state)
{
    pra_write_request *req = new_request(NULL), *out = new_request(NULL), *shared;
    pra_relabel *relabel = compiled(rules, NULL);
    pra_columns c = {.size = sizeof(c)};
    pra_write_request *const twice[] = {out, out}, *const itself[] = {out, req};
    (void)state;
    assert_int_equal(fill(req), PRA_OK);
    assert_int_equal(pra_write_request_columns(req, &c), PRA_OK);
    assert_int_equal(pra_write_request_relabel(req, relabel, req, NULL, NULL), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_write_request_relabel(req, NULL, out, NULL, NULL), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_write_request_split(req, twice, 2, NULL), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_write_request_split(req, itself, 2, NULL), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_write_request_split(req, twice, 0, NULL), PRA_ERR_INVALID_ARG);
    shared = pra_write_request_share(out);
    assert_int_equal(pra_write_request_relabel(req, relabel, out, NULL, NULL), PRA_ERR_BUSY);
    assert_int_equal(pra_write_request_split(req, twice, 1, NULL), PRA_ERR_BUSY);
    assert_int_equal(pra_write_request_add_copy(out, &c, 0, NULL, 0), PRA_ERR_BUSY);
    pra_write_request_free(shared);
    assert_int_equal(pra_write_request_decode(out, PRA_WRITE_V1, "", 0, NULL, NULL), PRA_OK);
    assert_int_equal(pra_write_request_relabel(req, relabel, out, NULL, NULL), PRA_ERR_STATE);
    assert_int_equal(pra_write_request_add_copy(out, &c, 0, NULL, 0), PRA_ERR_STATE);
    pra_write_request_reset(out);
    shared = pra_write_request_share(req); /* which may be looked at */
    assert_int_equal(pra_write_request_relabel(req, relabel, out, NULL, NULL), PRA_OK);
    pra_write_request_free(shared);
    pra_write_request_free(req);
    pra_write_request_free(out);
    pra_relabel_free(relabel);
}

static void nothing_becomes_nothing(void **state)
{
    pra_write_request *req = new_request(NULL), *out = new_request(NULL);
    pra_relabel *relabel = compiled(rules, NULL);
    uint64_t dropped;
    (void)state;
    assert_int_equal(pra_write_request_relabel(req, relabel, out, &dropped, NULL), PRA_OK);
    assert_int_equal(dropped, 0);
    assert_empty(out);
    assert_int_equal(pra_write_request_split(req, &out, 1, NULL), PRA_OK);
    assert_empty(out);
    assert_int_equal(add(req, ""), PRA_OK);
    assert_int_equal(pra_write_request_relabel(req, relabel, out, &dropped, NULL), PRA_OK);
    assert_int_equal(dropped, 1);
    assert_empty(out);
    pra_write_request_free(req);
    pra_write_request_free(out);
    pra_relabel_free(relabel);
}

/* ── Copies ── */

static void series_are_copied_under_any_labels(void **state)
{
    pra_write_request *req = new_request(NULL), *out = new_request(NULL);
    pra_write_request *expected = new_request(NULL);
    pra_columns c = {.size = sizeof(c)};
    pra_label labels[SHORT_LABELS];
    (void)state;
    assert_int_equal(fill(req), PRA_OK);
    assert_int_equal(pra_write_request_columns(req, &c), PRA_OK);
    assert_int_equal(pra_write_request_add_copy(out, &c, 2, NULL, 0), PRA_OK);
    size_t count = labels_of("__name__=z", labels);
    assert_int_equal(pra_write_request_add_copy(out, &c, 0, labels, count), PRA_OK);
    assert_int_equal(pra_write_request_add_copy(out, &c, 3, NULL, 0), PRA_ERR_INVALID_ARG);
    assert_int_equal(add_rich(expected, "__name__=c|instance=h2:80|job=x", 3000), PRA_OK);
    assert_int_equal(add_rich(expected, "__name__=z", 1000), PRA_OK);
    assert_same_request(out, expected);
    pra_write_request_free(req);
    pra_write_request_free(out);
    pra_write_request_free(expected);
}

static void a_split_loses_nothing(void **state)
{
    enum { PARTS = 3, SERIES = 100 };
    pra_write_request *req = new_request(NULL), *parts[PARTS];
    char text[64];
    size_t series = 0;
    (void)state;
    for (int i = 0; i < SERIES; i++) {
        (void)snprintf(text, sizeof(text), "__name__=m%d|job=x", i);
        assert_int_equal(add_rich(req, text, i), PRA_OK);
    }
    assert_int_equal(
        pra_write_request_add_metadata(req, PRA_METRIC_GAUGE, STR("m1"), STR("help"), STR("")),
        PRA_OK);
    for (int i = 0; i < PARTS; i++)
        parts[i] = new_request(NULL);
    assert_int_equal(pra_write_request_split(req, parts, PARTS, NULL), PRA_OK);
    for (uint64_t p = 0; p < PARTS; p++) {
        pra_columns c = {.size = sizeof(c)};
        assert_int_equal(pra_write_request_columns(parts[p], &c), PRA_OK);
        assert_true(c.series_count > SERIES / PARTS / 2);
        assert_int_equal(c.sample_count, c.series_count);
        assert_int_equal(c.metadata_count, c.series_count + 1);
        assert_int_equal(c.exemplar_count, c.series_count);
        series += c.series_count;
        for (size_t i = 0; i < c.series_count; i++)
            assert_int_equal(
                pra_labels_fingerprint(c.base, c.labels + c.label_offsets[i], 2) % PARTS, p);
    }
    assert_int_equal(series, SERIES);
    for (int i = 0; i < PARTS; i++)
        pra_write_request_free(parts[i]);
    pra_write_request_free(req);
}

/* ── Memory ── */

struct part {
    pra_write_request *req; /* with an allocator of its own */
    pra_relabel *relabel;
};

/* Into a request that has something in it, which is there afterwards whatever happens. */
static int fill_out(pra_write_request *out, const struct part *part, int what)
{
    pra_columns c = {.size = sizeof(c)};
    pra_error err = {0};
    if (what == 0)
        return pra_write_request_relabel(part->req, part->relabel, out, NULL, &err);
    if (what == 1)
        return pra_write_request_split(part->req, &out, 1, &err);
    assert_int_equal(pra_write_request_columns(part->req, &c), PRA_OK);
    return pra_write_request_add_copy(out, &c, 0, NULL, 0);
}

static int with_failures(struct failing_alloc *f, void *arg)
{
    int rc = PRA_OK;
    for (int what = 0; rc == PRA_OK && what < 3; what++) {
        pra_write_request *out;
        rc = pra_write_request_new(&f->alloc, &out);
        if (rc)
            return rc;
        rc = add_rich(out, "__name__=first", 1);
        const int ready = rc == PRA_OK;
        if (ready)
            rc = fill_out(out, arg, what);
        if (ready && rc) {
            struct text events = events_of(out);
            struct text first = {0};
            pra_write_request *expected = new_request(NULL);
            assert_int_equal(add_rich(expected, "__name__=first", 1), PRA_OK);
            first = events_of(expected);
            assert_same_text(&events, &first);
            pra_write_request_free(expected);
            text_free(&events);
            text_free(&first);
        }
        pra_write_request_free(out);
    }
    return rc;
}

static void every_refused_allocation_is_told(void **state)
{
    struct part part = {new_request(NULL), compiled(rules, NULL)};
    (void)state;
    for (int i = 0; i < 40; i++)
        assert_int_equal(fill(part.req), PRA_OK);
    assert_null(failing_alloc_loop(with_failures, &part));
    pra_write_request_free(part.req);
    pra_relabel_free(part.relabel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_series_go_with_their_labels),
        cmocka_unit_test(one_without_a_name_is_left_out),
        cmocka_unit_test(more_is_added_behind_what_is_there),
        cmocka_unit_test(many_series_become_what_each_would),
        cmocka_unit_test(a_failure_leaves_the_other_request_as_it_was),
        cmocka_unit_test(only_another_request_that_is_built_takes_them),
        cmocka_unit_test(nothing_becomes_nothing),
        cmocka_unit_test(series_are_copied_under_any_labels),
        cmocka_unit_test(a_split_loses_nothing),
        cmocka_unit_test(every_refused_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
