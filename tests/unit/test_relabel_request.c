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
    if (relabel_of(NULL, list, limits, &relabel, &err))
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_series_go_with_their_labels),
        cmocka_unit_test(series_are_copied_under_any_labels),
        cmocka_unit_test(a_split_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
