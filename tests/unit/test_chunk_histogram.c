/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "message/chunk_histogram.h"
#include "pra.h"
#include "support/events.h"
#include "support/failing_alloc.h"
#include "support/golden_chunks.h"
#include "support/text.h"

/* ---- as Prometheus writes them */

static void check_encode(void *ctx, const struct golden_chunk *g)
{
    (void)ctx;
    pra_columns c = {.size = sizeof(c)};
    pra_buffer *out;
    size_t taken = 0;
    int32_t type = 0;
    assert_int_equal(pra_write_request_columns(g->content, &c), PRA_OK);
    assert_int_equal(pra_buffer_new(NULL, &out), PRA_OK);
    assert_int_equal(pra_chunk_encode_histograms(&c, 0, c.histogram_count, &taken, &type, out),
                     PRA_OK);
    assert_int_equal(type, g->type);
    if (taken != c.histogram_count || pra_buffer_len(out) != g->chunk.len ||
        memcmp(pra_buffer_data(out), g->chunk.data, g->chunk.len) != 0)
        fail_msg("%s is encoded otherwise", g->name);
    pra_buffer_free(out);
}

static void test_encodes_as_prometheus(void **state)
{
    (void)state;
    assert_true(golden_chunks("histogram.txt", check_encode, NULL) > 30);
}

/* ---- a series built by hand */

enum { MOST = 2000, WIDE = 60 };

/* Columns over arrays that tests write into. */
struct series {
    pra_histogram h[MOST];
    pra_bucket_span spans[4];
    int64_t deltas[WIDE * MOST];
    double counts[WIDE * MOST];
    double bounds[4];
    pra_columns c;
};

static struct series *new_series(void)
{
    struct series *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    s->spans[0] = (pra_bucket_span){-3, 2};
    s->spans[1] = (pra_bucket_span){2, WIDE - 2};
    s->spans[2] = (pra_bucket_span){0, 2};
    s->spans[3] = (pra_bucket_span){1, WIDE - 2};
    s->bounds[0] = 1;
    s->bounds[1] = 2;
    s->bounds[2] = 1;
    s->bounds[3] = 3;
    s->c = (pra_columns){.size = sizeof(s->c),
                         .histograms = s->h,
                         .bucket_spans = s->spans,
                         .bucket_span_count = 4,
                         .negative_bucket_spans = s->spans,
                         .negative_bucket_span_count = 4,
                         .positive_deltas = s->deltas,
                         .positive_delta_count = WIDE * MOST,
                         .negative_deltas = s->deltas,
                         .negative_delta_count = WIDE * MOST,
                         .positive_counts = s->counts,
                         .positive_count_count = WIDE * MOST,
                         .negative_counts = s->counts,
                         .negative_count_count = WIDE * MOST,
                         .custom_values = s->bounds,
                         .custom_value_count = 4};
    return s;
}

/* One more histogram: all buckets of both sides hold value. */
static pra_histogram *add(struct series *s, int is_float, uint32_t value)
{
    const uint32_t n = (uint32_t)s->c.histogram_count++;
    pra_histogram *h = &s->h[n];
    *h = (pra_histogram){.timestamp_ms = 1000 + 15 * (int64_t)n,
                         .schema = 1,
                         .sum = value * 2.5,
                         .positive_spans = {0, 2},
                         .negative_spans = {0, 2}};
    s->deltas[n * WIDE] = value;
    for (uint32_t i = 0; i < WIDE; i++)
        s->counts[n * WIDE + i] = value;
    if (is_float) {
        double count = value * 2.0 * WIDE;
        memcpy(&h->count_bits, &count, 8);
        h->flags = PRA_HISTOGRAM_FLOAT | PRA_HISTOGRAM_ZERO_FLOAT;
        h->positive_counts = h->negative_counts = (pra_range){n * WIDE, WIDE};
    } else {
        h->count_bits = value * UINT64_C(2) * WIDE;
        h->positive_deltas = h->negative_deltas = (pra_range){n * WIDE, WIDE};
    }
    return h;
}

static void make_stale(pra_histogram *h)
{
    const uint64_t bits = PRA_STALE_NAN_BITS;
    memcpy(&h->sum, &bits, sizeof(bits));
}

/* Appends everything, in batches; a chunk as "type flags count,". */
static struct text cut(struct series *s, size_t batch)
{
    struct text t = {0};
    struct pra__histogram_chunk chunk;
    pra__histogram_chunk_init(&chunk, NULL);
    pra__histogram_chunk_begin(&chunk);
    for (size_t at = 0; at < s->c.histogram_count;) {
        size_t left = s->c.histogram_count - at, taken;
        size_t n = batch < left ? batch : left;
        assert_int_equal(pra__histogram_chunk_append(&chunk, &s->c, at, n, &taken), PRA_OK);
        at += taken;
        if (taken == n && at < s->c.histogram_count)
            continue;
        text_printf(&t, "%d %02x %u,", (int)chunk.type, (unsigned)chunk.flags,
                    (unsigned)chunk.count);
        assert_true(pra__histogram_chunk_end(&chunk) > PRA__HISTOGRAM_HEAD_BYTES);
    }
    pra__histogram_chunk_fini(&chunk);
    return t;
}

static void expect_cut(struct series *s, const char *expected)
{
    for (size_t batch = 1; batch < 40; batch = batch * 2 + 1) {
        struct text t = cut(s, batch);
        assert_string_equal(t.data, expected);
        text_free(&t);
    }
    free(s);
}

/* ---- where chunks end */

enum change {
    NONE,
    COUNT_FALLS,
    ZERO_FALLS,
    BUCKET_FALLS,
    NEGATIVE_FALLS,
    HINT_RESET,
    HINT_GAUGE,
    SCHEMA,
    THRESHOLD,
    SPANS,
    NEGATIVE_SPANS,
    STALE,
    OTHER_KIND,
    CHANGES
};

/* The middle one of five histograms is changed, and what comes behind it stays so. */
static void change(struct series *s, int is_float, enum change what)
{
    for (uint32_t i = 0; i < 5; i++) {
        const double five = 5, three = 3;
        uint32_t falls = i < 2 ? 0 : 3;
        pra_histogram *h = add(s, is_float, 10 + i);
        h->zero_count_bits = 5;
        if (is_float)
            memcpy(&h->zero_count_bits, &five, 8);
        if (i < 2)
            continue;
        switch (what) {
        case COUNT_FALLS:
            if (is_float)
                memcpy(&h->count_bits, &three, 8);
            else
                h->count_bits = 3;
            break;
        case ZERO_FALLS:
            h->zero_count_bits = 3;
            if (is_float)
                memcpy(&h->zero_count_bits, &three, 8);
            break;
        case BUCKET_FALLS:
        case NEGATIVE_FALLS: /* both sides have the same arrays */
            s->counts[i * WIDE + 7] -= falls;
            s->deltas[i * WIDE + 7] -= falls;
            s->deltas[i * WIDE + 8] += falls;
            if (what == NEGATIVE_FALLS)
                h->positive_spans.count = h->positive_deltas.count = h->positive_counts.count = 0;
            break;
        case HINT_RESET:
            h->reset_hint = i == 2 ? PRA_COUNTER_RESET_YES : PRA_COUNTER_RESET_NO;
            break;
        case HINT_GAUGE:
            h->reset_hint = PRA_COUNTER_RESET_GAUGE;
            break;
        case SCHEMA:
            h->schema = 2;
            break;
        case THRESHOLD:
            h->zero_threshold = 0.5;
            break;
        case SPANS:
            h->positive_spans.start = 2;
            break;
        case NEGATIVE_SPANS:
            h->negative_spans.start = 2;
            break;
        case STALE:
            if (i < 4)
                make_stale(h);
            break;
        case OTHER_KIND:
            s->c.histogram_count--;
            add(s, !is_float, 10 + i);
            break;
        default:
            break;
        }
        if (what == NEGATIVE_FALLS && i == 2) /* so that only that side can tell */
            for (uint32_t j = 0; j < 2; j++)
                s->h[j].positive_spans.count = s->h[j].positive_deltas.count =
                    s->h[j].positive_counts.count = 0;
    }
}

static void test_cuts(void **state)
{
    (void)state;
    static const struct {
        enum change change;
        const char *integer;
        const char *floats;
    } rows[CHANGES] = {
        {NONE, "2 00 5,", "3 00 5,"},
        {COUNT_FALLS, "2 00 2,2 80 3,", "3 00 2,3 80 3,"},
        {ZERO_FALLS, "2 00 2,2 80 3,", "3 00 2,3 80 3,"},
        {BUCKET_FALLS, "2 00 2,2 80 3,", "3 00 2,3 80 3,"},
        {NEGATIVE_FALLS, "2 00 2,2 80 3,", "3 00 2,3 80 3,"},
        {HINT_RESET, "2 00 2,2 80 3,", "3 00 2,3 80 3,"},
        {HINT_GAUGE, "2 00 2,2 c0 3,", "3 00 2,3 c0 3,"},
        {SCHEMA, "2 00 2,2 00 3,", "3 00 2,3 00 3,"},
        {THRESHOLD, "2 00 2,2 00 3,", "3 00 2,3 00 3,"},
        {SPANS, "2 00 2,2 00 3,", "3 00 2,3 00 3,"},
        {NEGATIVE_SPANS, "2 00 2,2 00 3,", "3 00 2,3 00 3,"},
        {STALE, "2 00 4,2 00 1,", "3 00 4,3 00 1,"},
        {OTHER_KIND, "2 00 2,3 00 3,", "3 00 2,2 00 3,"},
    };
    for (int i = 0; i < CHANGES; i++)
        for (int is_float = 0; is_float < 2; is_float++) {
            struct series *s = new_series();
            change(s, is_float, rows[i].change);
            expect_cut(s, is_float ? rows[i].floats : rows[i].integer);
        }
}

/* Gauges may fall, but change their buckets as others do. */
static void test_gauges(void **state)
{
    (void)state;
    struct series *s = new_series();
    for (uint32_t i = 0; i < 6; i++) {
        pra_histogram *h = add(s, 0, 100 - 10 * i);
        h->reset_hint = PRA_COUNTER_RESET_GAUGE;
        h->schema = i < 4 ? 1 : 2;
    }
    s->h[2].reset_hint = PRA_COUNTER_RESET_UNKNOWN;
    make_stale(&s->h[2]); /* has no buckets, wherever it is */
    expect_cut(s, "2 c0 3,2 c0 1,2 c0 2,");
}

static void test_custom_bounds(void **state)
{
    (void)state;
    struct series *s = new_series();
    for (uint32_t i = 0; i < 6; i++) {
        pra_histogram *h = add(s, 0, 10 + i);
        h->schema = PRA__SCHEMA_CUSTOM;
        h->custom_values = (pra_range){i < 3 ? 0 : 2, 2};
    }
    expect_cut(s, "2 00 3,2 00 3,");
}

/* 1,024 bytes, but not fewer than 10 histograms; going on is said to be no reset. */
static void test_full_chunks(void **state)
{
    (void)state;
    struct series *s = new_series();
    for (uint32_t i = 0; i < 25; i++) {
        pra_histogram *h = add(s, 1, 10 + i);
        for (uint32_t j = 0; j < WIDE; j++) /* each takes some bytes */
            s->counts[i * WIDE + j] = 1000 * i + 0.1 * j + 1.0 / (i + 3);
        double count = 1e9 + i;
        memcpy(&h->count_bits, &count, 8);
    }
    expect_cut(s, "3 00 10,3 40 10,3 40 5,");
    s = new_series();
    for (uint32_t i = 0; i < MOST; i++)
        add(s, 0, 10 + i);
    struct text t = cut(s, 100);
    assert_true(strncmp(t.data, "2 00 ", 5) == 0);
    const size_t first = (size_t)strtol(t.data + 5, NULL, 10);
    assert_true(first > 20 && first < 100); /* 120 buckets of a bit each */
    assert_non_null(strstr(t.data, ",2 40 "));
    assert_null(strstr(t.data, " 80 "));
    text_free(&t);
    free(s);
}

/* ---- round trips */

static void check_round_trip(const pra_columns *c)
{
    pra_write_request *expected, *found;
    pra_buffer *chunk;
    struct text a = {0}, b = {0};
    pra_columns v = {.size = sizeof(v)};
    assert_int_equal(pra_write_request_new(NULL, &expected), PRA_OK);
    assert_int_equal(pra_write_request_new(NULL, &found), PRA_OK);
    assert_int_equal(pra_buffer_new(NULL, &chunk), PRA_OK);
    assert_int_equal(pra_write_request_add_series(expected, NULL, 0), PRA_OK);
    assert_int_equal(pra_write_request_add_series(found, NULL, 0), PRA_OK);
    for (size_t at = 0, taken; at < c->histogram_count; at += taken) {
        int32_t type;
        pra_buffer_reset(chunk);
        assert_int_equal(
            pra_chunk_encode_histograms(c, at, c->histogram_count - at, &taken, &type, chunk),
            PRA_OK);
        assert_int_equal(pra_chunk_decode(type, pra_buffer_data(chunk), pra_buffer_len(chunk),
                                          found, NULL, NULL),
                         PRA_OK);
    }
    for (size_t i = 0; i < c->histogram_count; i++)
        assert_int_equal(pra_write_request_add_histogram(expected, c, i), PRA_OK);
    assert_int_equal(pra_write_request_columns(expected, &v), PRA_OK);
    assert_int_equal(v.histogram_count, c->histogram_count);
    /* hints are those of the position in a chunk */
    pra_histogram *h = (pra_histogram *)(uintptr_t)v.histograms;
    pra_columns w = {.size = sizeof(w)};
    assert_int_equal(pra_write_request_columns(found, &w), PRA_OK);
    assert_int_equal(w.histogram_count, c->histogram_count);
    for (size_t i = 0; i < c->histogram_count; i++) {
        if (w.histograms[i].reset_hint != PRA_COUNTER_RESET_GAUGE)
            h[i].reset_hint = w.histograms[i].reset_hint;
        h[i].start_timestamp_ms = 0;
    }
    events_columns(&a, &v);
    events_columns(&b, &w);
    assert_string_equal(a.data, b.data);
    text_free(&a);
    text_free(&b);
    pra_buffer_free(chunk);
    pra_write_request_free(expected);
    pra_write_request_free(found);
}

static uint64_t some_bits(uint64_t *random)
{
    return random_next(random) >> random_below(random, 64);
}

static void random_series(struct series *s, uint64_t *random)
{
    const int is_float = (int)random_below(random, 2);
    size_t count = random_below(random, 60) + 1;
    for (size_t i = 0; i < count; i++) {
        pra_histogram *h = add(s, is_float, 5);
        h->timestamp_ms = (int64_t)some_bits(random);
        h->count_bits = some_bits(random);
        h->zero_count_bits = some_bits(random);
        uint64_t bits = some_bits(random);
        memcpy(&h->sum, &bits, 8);
        bits = random_below(random, 8) ? 0 : some_bits(random);
        memcpy(&h->zero_threshold, &bits, 8);
        h->schema = random_below(random, 9) ? 1 : (int32_t)random_below(random, 60) - 9;
        if (h->schema > 50)
            h->schema = PRA__SCHEMA_CUSTOM;
        h->custom_values = (pra_range){0, h->schema == PRA__SCHEMA_CUSTOM ? 2 : 0};
        h->reset_hint = (int32_t)random_below(random, 4);
        for (size_t j = 0; j < WIDE; j++) {
            bits = some_bits(random);
            s->deltas[i * WIDE + j] = (int64_t)bits;
            memcpy(&s->counts[i * WIDE + j], &bits, 8);
        }
    }
}

static void test_round_trips(void **state)
{
    (void)state;
    uint64_t random = 3;
    for (int i = 0; i < 200; i++) {
        struct series *s = new_series();
        random_series(s, &random);
        check_round_trip(&s->c);
        free(s);
    }
}

/* ---- what is refused */

static void test_refuses(void **state)
{
    (void)state;
    struct series *s = new_series();
    pra_buffer *out;
    size_t taken = 77;
    int32_t type = 77;
    assert_int_equal(pra_buffer_new(NULL, &out), PRA_OK);
    add(s, 0, 1);
    pra_histogram *h = add(s, 0, 2);
    const pra_histogram good = *h;
    for (int i = 0; i < 8; i++) {
        *h = good;
        switch (i) {
        case 0:
            h->positive_deltas.count--;
            break;
        case 1:
            h->negative_deltas.count++;
            break;
        case 2:
            h->positive_spans.start = 4;
            break;
        case 3:
            h->negative_spans = (pra_range){UINT32_MAX, 2};
            break;
        case 4:
            h->schema = 53;
            break;
        case 5:
            h->schema = -10;
            break;
        case 6:
            h->custom_values = (pra_range){3, 2};
            break;
        default:
            h->flags = PRA_HISTOGRAM_FLOAT; /* without counts */
            break;
        }
        assert_int_equal(pra_chunk_encode_histograms(&s->c, 1, 1, &taken, &type, out),
                         PRA_ERR_HISTOGRAM);
        assert_int_equal(pra_buffer_len(out), 0);
        assert_int_equal(taken, 77);
        assert_int_equal(type, 77);
    }
    /* those before it make a chunk */
    assert_int_equal(pra_chunk_encode_histograms(&s->c, 0, 2, &taken, &type, out), PRA_OK);
    assert_int_equal(taken, 1);
    assert_int_equal(pra_chunk_encode_histograms(&s->c, 0, 0, &taken, &type, out),
                     PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_chunk_encode_histograms(&s->c, 1, 2, &taken, &type, out),
                     PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_chunk_encode_histograms(NULL, 0, 1, &taken, &type, out),
                     PRA_ERR_INVALID_ARG);
    pra_buffer_free(out);
    free(s);
}

/* ---- memory */

static int encode_all(struct failing_alloc *f, void *arg)
{
    const pra_columns *c = arg;
    pra_buffer *out;
    int rc = pra_buffer_new(&f->alloc, &out);
    if (rc)
        return rc;
    for (size_t at = 0, taken = 0; rc == PRA_OK && at < c->histogram_count; at += taken) {
        int32_t type;
        rc = pra_chunk_encode_histograms(c, at, c->histogram_count - at, &taken, &type, out);
    }
    pra_buffer_free(out);
    return rc;
}

static void test_oom(void **state)
{
    (void)state;
    struct series *s = new_series();
    uint64_t random = 9;
    random_series(s, &random);
    const char *wrong = failing_alloc_loop(encode_all, &s->c);
    if (wrong)
        fail_msg("%s", wrong);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encodes_as_prometheus),
        cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_gauges),
        cmocka_unit_test(test_custom_bounds),
        cmocka_unit_test(test_full_chunks),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_oom),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
