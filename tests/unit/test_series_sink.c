/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pra.h"

#define S(text)                                                                                    \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

static const pra_label up[] = {{S("__name__"), S("up")}};

struct fixture {
    pra_series_sink *sink;
    pra_buffer *out;
    pra_error err;
};

static void open_sink(struct fixture *f, int64_t start_ms, int64_t end_ms, const pra_limits *limits)
{
    memset(&f->err, 0, sizeof(f->err));
    assert_int_equal(pra_series_sink_new(NULL, start_ms, end_ms, limits, &f->sink), PRA_OK);
    assert_int_equal(pra_buffer_new(NULL, &f->out), PRA_OK);
}

static void close_sink(struct fixture *f)
{
    pra_series_sink_free(f->sink);
    pra_buffer_free(f->out);
}

static void assert_answer(struct fixture *f, const char *bytes, size_t len)
{
    const pra_series_sink *sinks[] = {f->sink};
    pra_buffer_reset(f->out);
    assert_int_equal(pra_read_response_encode(sinks, 1, f->out, &f->err), PRA_OK);
    assert_int_equal(pra_buffer_len(f->out), len);
    assert_memory_equal(pra_buffer_data(f->out), bytes, len);
}

#define ASSERT_ANSWER(f, bytes) assert_answer(f, bytes, sizeof(bytes) - 1)

/* results { timeseries { labels { "__name__", "up" } samples { 1, t 1 } samples { t 2 } } } */
#define TWO_SAMPLES                                                                                \
    "\x0a\x23\x0a\x21\x0a\x0e\x0a\x08__name__\x12\x02up"                                           \
    "\x12\x0b\x09\0\0\0\0\0\0\xf0\x3f\x10\x01\x12\x02\x10\x02"

static void writes_the_bytes_of_the_schema(void **state)
{
    (void)state;
    struct fixture f;
    const int64_t t[] = {1, 2};
    const double v[] = {1, 0};
    open_sink(&f, 0, 10, NULL);
    ASSERT_ANSWER(&f, "\x0a\0");
    assert_int_equal(pra_series_sink_add(f.sink, up, 1, t, v, 2, &f.err), PRA_OK);
    ASSERT_ANSWER(&f, TWO_SAMPLES);
    assert_int_equal(pra_series_sink_series_count(f.sink), 1);
    assert_int_equal(pra_series_sink_sample_count(f.sink), 2);
    close_sink(&f);
}

static void R05_both_ends_of_the_range_are_inclusive(void **state)
{
    (void)state;
    struct fixture f;
    const int64_t t[] = {INT64_MIN, 0, 1, 2, 3, INT64_MAX};
    const double v[] = {9, 9, 1, 0, 9, 9};
    open_sink(&f, 1, 2, NULL);
    assert_int_equal(pra_series_sink_add(f.sink, up, 1, t, v, 6, &f.err), PRA_OK);
    ASSERT_ANSWER(&f, TWO_SAMPLES);
    close_sink(&f);

    open_sink(&f, INT64_MIN, INT64_MAX, NULL);
    assert_int_equal(pra_series_sink_add(f.sink, up, 1, t, v, 6, &f.err), PRA_OK);
    assert_int_equal(pra_series_sink_sample_count(f.sink), 6);
    close_sink(&f);

    open_sink(&f, 4, INT64_MAX - 1, NULL);
    assert_int_equal(pra_series_sink_add(f.sink, up, 1, t, v, 6, &f.err), PRA_OK);
    ASSERT_ANSWER(&f, "\x0a\0"); /* no samples left: no series */
    close_sink(&f);
}

static void sorts_samples_and_keeps_the_last_of_equal_times(void **state)
{
    (void)state;
    struct fixture f;
    const int64_t t[] = {2, 1, 2, 99};
    const double v[] = {7, 1, 0, 3};
    open_sink(&f, 0, 10, NULL);
    assert_int_equal(pra_series_sink_add(f.sink, up, 1, t, v, 4, &f.err), PRA_OK);
    ASSERT_ANSWER(&f, TWO_SAMPLES);
    close_sink(&f);

    open_sink(&f, 0, 10, NULL);
    assert_int_equal(pra_series_sink_begin(f.sink, up, 1, &f.err), PRA_OK);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pra_series_sink_samples(f.sink, &t[i], &v[i], 1, &f.err), PRA_OK);
    assert_int_equal(pra_series_sink_end(f.sink, &f.err), PRA_OK);
    ASSERT_ANSWER(&f, TWO_SAMPLES);
    assert_int_equal(pra_series_sink_end(f.sink, &f.err), PRA_ERR_STATE);
    assert_int_equal(pra_series_sink_samples(f.sink, t, v, 1, &f.err), PRA_ERR_STATE);
    close_sink(&f);
}

static void sorts_labels_and_leaves_out_empty_values(void **state)
{
    (void)state;
    struct fixture f;
    const pra_label labels[] = {{S("b"), S("2")}, {S("x"), S("")}, {S("a"), S("1")}};
    const int64_t t = 1;
    const double v = 0;
    open_sink(&f, 0, 10, NULL);
    assert_int_equal(pra_series_sink_add(f.sink, labels, 3, &t, &v, 1, &f.err), PRA_OK);
    ASSERT_ANSWER(&f, "\x0a\x16\x0a\x14\x0a\x06\x0a\x01"
                      "a\x12\x01"
                      "1\x0a\x06\x0a\x01"
                      "b\x12\x01"
                      "2\x12\x02\x10\x01");
    close_sink(&f);
}

static void refuses_labels_that_a_reader_would_choke_on(void **state)
{
    (void)state;
    struct fixture f;
    const pra_label twice[] = {{S("a"), S("1")}, {S("b"), S("1")}, {S("a"), S("2")}};
    const pra_label unnamed[] = {{S("a"), S("1")}, {S(""), S("2")}};
    const pra_label latin1[] = {{S("a"), S("\xe9")}};
    const int64_t t = 1;
    const double v = 1;
    open_sink(&f, 0, 10, NULL);
    assert_int_equal(pra_series_sink_add(f.sink, twice, 3, &t, &v, 1, &f.err), PRA_ERR_LABELS);
    assert_non_null(strstr(f.err.message, "\"a\""));
    assert_int_equal(pra_series_sink_add(f.sink, unnamed, 2, &t, &v, 1, &f.err), PRA_ERR_LABELS);
    assert_int_equal(pra_series_sink_add(f.sink, latin1, 1, &t, &v, 1, &f.err), PRA_ERR_LABELS);
    ASSERT_ANSWER(&f, "\x0a\0");
    assert_int_equal(pra_series_sink_add(f.sink, up, 1, &t, &v, 1, &f.err), PRA_OK);
    assert_int_equal(pra_series_sink_series_count(f.sink), 1);
    close_sink(&f);
}

static void W42_payloads_of_nan_and_the_sign_of_zero_survive(void **state)
{
    (void)state;
    struct fixture f;
    const uint64_t bits[] = {PRA_STALE_NAN_BITS, 0x8000000000000000, 0xfff8000000000123};
    double v[3];
    const int64_t t[] = {1, 2, 3};
    memcpy(v, bits, sizeof(v));
    open_sink(&f, 0, 10, NULL);
    assert_int_equal(pra_series_sink_add(f.sink, NULL, 0, t, v, 3, &f.err), PRA_OK);
    ASSERT_ANSWER(&f, "\x0a\x29\x0a\x27"
                      "\x12\x0b\x09\x02\0\0\0\0\0\xf0\x7f\x10\x01"
                      "\x12\x0b\x09\0\0\0\0\0\0\0\x80\x10\x02"
                      "\x12\x0b\x09\x23\x01\0\0\0\0\xf8\xff\x10\x03");
    close_sink(&f);
}

static void R09_limits_end_the_answer_and_stay(void **state)
{
    (void)state;
    struct fixture f;
    const int64_t t[] = {1, 2, 3, 4};
    const double v[] = {1, 2, 3, 4};
    pra_limits limits = {.size = sizeof(limits), .max_read_samples = 5};
    open_sink(&f, 0, 10, &limits);
    assert_int_equal(pra_series_sink_add(f.sink, up, 1, t, v, 4, &f.err), PRA_OK);
    assert_int_equal(pra_series_sink_add(f.sink, up, 1, t, v, 4, &f.err), PRA_ERR_SAMPLE_LIMIT);
    assert_non_null(strstr(f.err.message, "exceeded sample limit (5)"));
    assert_int_equal(f.err.http_status, 400);
    assert_int_equal(pra_series_sink_begin(f.sink, up, 1, NULL), PRA_ERR_SAMPLE_LIMIT);
    assert_int_equal(pra_series_sink_samples(f.sink, t, v, 1, NULL), PRA_ERR_SAMPLE_LIMIT);
    assert_int_equal(pra_series_sink_end(f.sink, NULL), PRA_ERR_SAMPLE_LIMIT);
    close_sink(&f);

    limits = (pra_limits){.size = sizeof(limits), .max_response_bytes = 60};
    open_sink(&f, 0, 10, &limits);
    assert_int_equal(pra_series_sink_add(f.sink, up, 1, t, v, 2, &f.err), PRA_OK);
    assert_int_equal(pra_series_sink_add(f.sink, up, 1, t, v, 2, &f.err),
                     PRA_ERR_RESPONSE_TOO_LARGE);
    assert_non_null(strstr(f.err.message, "--limit.response-size"));
    pra_series_sink_reset(f.sink, 2, 2);
    assert_int_equal(pra_series_sink_add(f.sink, up, 1, t, v, 2, &f.err), PRA_OK);
    assert_int_equal(pra_series_sink_sample_count(f.sink), 1);
    close_sink(&f);
}

static void R09_labels_beyond_the_limit_take_no_memory(void **state)
{
    (void)state;
    static char text[3000];
    memset(text, 'x', sizeof(text));
    const pra_label label = {{"a", 1}, {text, sizeof(text)}};
    const pra_limits limits = {.size = sizeof(limits), .max_response_bytes = 2000};
    struct fixture f;
    pra_error err = {0};
    open_sink(&f, 0, 10, &limits);
    assert_int_equal(pra_series_sink_begin(f.sink, &label, 1, &err), PRA_ERR_RESPONSE_TOO_LARGE);
    assert_int_equal(err.code, PRA_ERR_RESPONSE_TOO_LARGE);
    close_sink(&f);
}

static void R09_samples_outside_the_range_count_for_nothing(void **state)
{
    (void)state;
    struct fixture f;
    const int64_t t[] = {2, 1, -1, -2, -3, 11, 12};
    const double v[] = {0, 1, 3, 4, 5, 6, 7};
    pra_limits limits = {.size = sizeof(limits), .max_read_samples = 2};
    open_sink(&f, 0, 10, &limits);
    assert_int_equal(pra_series_sink_add(f.sink, up, 1, t, v, 7, &f.err), PRA_OK);
    ASSERT_ANSWER(&f, TWO_SAMPLES);
    close_sink(&f);
}

/* The least bytes that a last sample can have; a label makes the buffer exactly as large as the
 * series needs, so that the sanitizer sees what is written behind it. */
static void a_last_sample_of_zeros_stays_inside_the_buffer(void **state)
{
    (void)state;
    struct fixture f;
    char value[200];
    const pra_label label = {S("a"), {value, sizeof(value)}};
    const int64_t t[] = {-1, 0};
    const double v[] = {1, 0};
    memset(value, 'x', sizeof(value));
    for (size_t first = 0; first < 2; first++) {
        open_sink(&f, -10, 10, NULL);
        assert_int_equal(
            pra_series_sink_add(f.sink, &label, 1, t + first, v + first, 2 - first, &f.err),
            PRA_OK);
        assert_int_equal(pra_series_sink_sample_count(f.sink), 2 - first);
        close_sink(&f);
    }
}

static void timestamps_of_every_length_are_written_right(void **state)
{
    (void)state;
    struct fixture f;
    int64_t t[130];
    double v[130];
    size_t n = 0;
    t[n++] = INT64_MIN;
    for (int bit = 62; bit >= 0; bit--)
        t[n++] = -(INT64_C(1) << bit);
    t[n++] = 0;
    for (int bit = 0; bit < 63; bit++)
        t[n++] = INT64_C(1) << bit;
    t[n++] = INT64_MAX;
    for (size_t i = 0; i < n; i++)
        v[i] = (double)(i % 3);
    for (size_t first = 0; first < n; first++)
        for (size_t count = 1; first + count <= n; count += 1 + count / 4) {
            pra_read_response *resp;
            pra_columns c = {.size = sizeof(c)};
            open_sink(&f, INT64_MIN, INT64_MAX, NULL);
            assert_int_equal(
                pra_series_sink_add(f.sink, up, 1, t + first, v + first, count, &f.err), PRA_OK);
            const pra_series_sink *sinks[] = {f.sink};
            assert_int_equal(pra_read_response_encode(sinks, 1, f.out, &f.err), PRA_OK);
            assert_int_equal(pra_read_response_new(NULL, &resp), PRA_OK);
            assert_int_equal(pra_read_response_decode(resp, pra_buffer_data(f.out),
                                                      pra_buffer_len(f.out), NULL, &f.err),
                             PRA_OK);
            assert_int_equal(pra_read_response_columns(resp, &c), PRA_OK);
            assert_int_equal(c.sample_count, count);
            assert_memory_equal(c.timestamps_ms, t + first, count * sizeof(*t));
            assert_memory_equal(c.values, v + first, count * sizeof(*v));
            pra_read_response_free(resp);
            close_sink(&f);
        }
}

static void R09_a_series_in_pieces_takes_no_more_memory_than_an_answer_may(void **state)
{
    (void)state;
    struct fixture f;
    const double v = 1;
    pra_limits limits = {.size = sizeof(limits), .max_response_bytes = 1600};
    open_sink(&f, 0, INT64_MAX, &limits);
    assert_int_equal(pra_series_sink_begin(f.sink, up, 1, &f.err), PRA_OK);
    for (int64_t t = 1; t <= 100; t++)
        assert_int_equal(pra_series_sink_samples(f.sink, &t, &v, 1, &f.err), PRA_OK);
    const int64_t t = 101;
    assert_int_equal(pra_series_sink_samples(f.sink, &t, &v, 1, &f.err),
                     PRA_ERR_RESPONSE_TOO_LARGE);
    assert_int_equal(pra_series_sink_end(f.sink, &f.err), PRA_ERR_RESPONSE_TOO_LARGE);
    close_sink(&f);
}

static void a_series_begun_and_not_ended_is_dropped(void **state)
{
    (void)state;
    struct fixture f;
    const int64_t t[] = {1, 2};
    const double v[] = {1, 0};
    open_sink(&f, 0, 10, NULL);
    assert_int_equal(pra_series_sink_begin(f.sink, NULL, 0, &f.err), PRA_OK);
    assert_int_equal(pra_series_sink_samples(f.sink, t, v, 2, &f.err), PRA_OK);
    assert_int_equal(pra_series_sink_add(f.sink, up, 1, t, v, 2, &f.err), PRA_OK);
    ASSERT_ANSWER(&f, TWO_SAMPLES);
    close_sink(&f);
}

/* ── Native histograms ── */

/* Histograms without buckets at these times, their sums counting up from 0. */
static void add_histograms(struct fixture *f, const int64_t *timestamps_ms, size_t count)
{
    pra_histogram histograms[8] = {{.timestamp_ms = 0}};
    const uint32_t offsets[] = {0, (uint32_t)count};
    const pra_columns columns = {.size = sizeof(columns),
                                 .series_count = 1,
                                 .histogram_offsets = offsets,
                                 .histograms = histograms,
                                 .histogram_count = count};
    for (size_t i = 0; i < count; i++)
        histograms[i] = (pra_histogram){.timestamp_ms = timestamps_ms[i], .sum = (double)i};
    assert_int_equal(pra_series_sink_histograms(f->sink, &columns, 0, count, &f->err), PRA_OK);
}

static void assert_data(struct fixture *f, const int64_t *samples, size_t sample_count,
                        const int64_t *histograms, const double *sums, size_t histogram_count)
{
    const pra_series_sink *sinks[] = {f->sink};
    pra_read_response *response;
    pra_columns c = {.size = sizeof(c)};
    pra_buffer_reset(f->out);
    assert_int_equal(pra_read_response_encode(sinks, 1, f->out, &f->err), PRA_OK);
    assert_int_equal(pra_read_response_new(NULL, &response), PRA_OK);
    assert_int_equal(pra_read_response_decode(response, pra_buffer_data(f->out),
                                              pra_buffer_len(f->out), NULL, &f->err),
                     PRA_OK);
    assert_int_equal(pra_read_response_columns(response, &c), PRA_OK);
    assert_int_equal(c.sample_count, sample_count);
    assert_int_equal(c.histogram_count, histogram_count);
    for (size_t i = 0; i < sample_count; i++)
        assert_int_equal(c.timestamps_ms[i], samples[i]);
    for (size_t i = 0; i < histogram_count; i++) {
        assert_int_equal(c.histograms[i].timestamp_ms, histograms[i]);
        assert_true(c.histograms[i].sum == sums[i]);
    }
    pra_read_response_free(response);
}

/* Sorted, trimmed; of equal times the last wins, and a sample goes before a histogram. */
static void histograms_are_put_in_order_and_give_way_to_samples(void **state)
{
    (void)state;
    struct fixture f;
    const int64_t times[] = {7, 3, 99, 5, 3, 1, 6};
    const int64_t t[] = {6, 4, 1};
    const double v[] = {1, 2, 3};
    open_sink(&f, 1, 50, NULL);
    assert_int_equal(pra_series_sink_begin(f.sink, up, 1, &f.err), PRA_OK);
    add_histograms(&f, times, 4);
    assert_int_equal(pra_series_sink_samples(f.sink, t, v, 3, &f.err), PRA_OK);
    add_histograms(&f, times + 4, 3);
    assert_int_equal(pra_series_sink_end(f.sink, &f.err), PRA_OK);
    assert_data(&f, (const int64_t[]){1, 4, 6}, 3, (const int64_t[]){3, 5, 7},
                (const double[]){0, 3, 0}, 3);
    /* the next series has nothing of it */
    pra_series_sink_reset(f.sink, 1, 50);
    assert_int_equal(pra_series_sink_add(f.sink, up, 1, t, v, 3, &f.err), PRA_OK);
    assert_data(&f, (const int64_t[]){1, 4, 6}, 3, NULL, NULL, 0);
    /* histograms alone */
    assert_int_equal(pra_series_sink_begin(f.sink, up, 1, &f.err), PRA_OK);
    add_histograms(&f, times, 1);
    assert_int_equal(pra_series_sink_begin(f.sink, up, 1, &f.err), PRA_OK); /* dropped */
    add_histograms(&f, times + 3, 1);
    assert_int_equal(pra_series_sink_end(f.sink, &f.err), PRA_OK);
    assert_data(&f, (const int64_t[]){1, 4, 6}, 3, (const int64_t[]){5}, (const double[]){0}, 1);
    assert_int_equal(pra_series_sink_series_count(f.sink), 2);
    close_sink(&f);
}

static void histograms_that_cannot_be_are_refused(void **state)
{
    (void)state;
    struct fixture f;
    const uint32_t offsets[] = {0, 2};
    pra_histogram histograms[2] = {{.timestamp_ms = 1}, {.timestamp_ms = 2, .schema = 99}};
    pra_columns columns = {.size = sizeof(columns),
                           .series_count = 1,
                           .histogram_offsets = offsets,
                           .histograms = histograms,
                           .histogram_count = 2};
    open_sink(&f, 0, 10, NULL);
    assert_int_equal(pra_series_sink_histograms(f.sink, &columns, 0, 1, &f.err), PRA_ERR_STATE);
    assert_int_equal(pra_series_sink_begin(f.sink, up, 1, &f.err), PRA_OK);
    assert_int_equal(pra_series_sink_histograms(f.sink, &columns, 0, 3, &f.err),
                     PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_series_sink_histograms(f.sink, &columns, 3, 0, &f.err),
                     PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_series_sink_histograms(f.sink, NULL, 0, 0, &f.err), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_series_sink_histograms(f.sink, &columns, 0, 2, &f.err), PRA_ERR_HISTOGRAM);
    assert_int_equal(f.err.code, PRA_ERR_HISTOGRAM);
    histograms[0].positive_spans = (pra_range){0, 1}; /* of no spans */
    assert_true(pra_series_sink_histograms(f.sink, &columns, 0, 1, &f.err) < 0);
    histograms[0].positive_spans = (pra_range){0, 0};
    assert_int_equal(pra_series_sink_histograms(f.sink, &columns, 0, 1, &f.err), PRA_OK);
    assert_int_equal(pra_series_sink_end(f.sink, &f.err), PRA_OK);
    assert_data(&f, NULL, 0, (const int64_t[]){1}, (const double[]){0}, 1);
    close_sink(&f);
}

static void R09_histograms_count_as_samples(void **state)
{
    (void)state;
    struct fixture f;
    const int64_t times[] = {1, 2, 3};
    const pra_limits limits = {.size = sizeof(limits), .max_read_samples = 2};
    open_sink(&f, 0, 10, &limits);
    assert_int_equal(pra_series_sink_begin(f.sink, up, 1, &f.err), PRA_OK);
    add_histograms(&f, times, 3);
    assert_int_equal(pra_series_sink_end(f.sink, &f.err), PRA_ERR_SAMPLE_LIMIT);
    assert_int_equal(pra_series_sink_begin(f.sink, up, 1, &f.err), PRA_ERR_SAMPLE_LIMIT);
    close_sink(&f);
}

/* Those that wait are within the limit of the answer. */
static void histograms_that_wait_have_a_limit(void **state)
{
    (void)state;
    struct fixture f;
    const pra_limits limits = {.size = sizeof(limits), .max_response_bytes = 2000};
    const uint32_t offsets[] = {0, 1};
    pra_histogram histogram = {.timestamp_ms = 1};
    const pra_columns columns = {.size = sizeof(columns),
                                 .series_count = 1,
                                 .histogram_offsets = offsets,
                                 .histograms = &histogram,
                                 .histogram_count = 1};
    int rc = PRA_OK;
    open_sink(&f, 0, INT64_MAX, &limits);
    assert_int_equal(pra_series_sink_begin(f.sink, up, 1, &f.err), PRA_OK);
    for (int i = 0; i < 1000 && rc == PRA_OK; i++, histogram.timestamp_ms++)
        rc = pra_series_sink_histograms(f.sink, &columns, 0, 1, &f.err);
    assert_int_equal(rc, PRA_ERR_RESPONSE_TOO_LARGE);
    close_sink(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_the_bytes_of_the_schema),
        cmocka_unit_test(R05_both_ends_of_the_range_are_inclusive),
        cmocka_unit_test(sorts_samples_and_keeps_the_last_of_equal_times),
        cmocka_unit_test(sorts_labels_and_leaves_out_empty_values),
        cmocka_unit_test(refuses_labels_that_a_reader_would_choke_on),
        cmocka_unit_test(W42_payloads_of_nan_and_the_sign_of_zero_survive),
        cmocka_unit_test(R09_limits_end_the_answer_and_stay),
        cmocka_unit_test(R09_labels_beyond_the_limit_take_no_memory),
        cmocka_unit_test(R09_samples_outside_the_range_count_for_nothing),
        cmocka_unit_test(a_last_sample_of_zeros_stays_inside_the_buffer),
        cmocka_unit_test(timestamps_of_every_length_are_written_right),
        cmocka_unit_test(R09_a_series_in_pieces_takes_no_more_memory_than_an_answer_may),
        cmocka_unit_test(a_series_begun_and_not_ended_is_dropped),
        cmocka_unit_test(histograms_are_put_in_order_and_give_way_to_samples),
        cmocka_unit_test(histograms_that_cannot_be_are_refused),
        cmocka_unit_test(R09_histograms_count_as_samples),
        cmocka_unit_test(histograms_that_wait_have_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
