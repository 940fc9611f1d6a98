/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pra.h"
#include "support/events.h"
#include "support/failing_alloc.h"
#include "support/message_gen.h"
#include "support/text.h"

/* ---- helpers */

static pra_write_request *new_request(void)
{
    pra_write_request *req;
    assert_int_equal(pra_write_request_new(NULL, &req), PRA_OK);
    return req;
}

static struct text events_of(const pra_write_request *req)
{
    struct text t = {0};
    pra_columns c = {.size = sizeof(c)};
    assert_int_equal(pra_write_request_columns(req, &c), PRA_OK);
    text_bytes(&t, "", 0);
    events_columns(&t, &c);
    return t;
}

/* Adds a series with labels "name=value" and one sample. Strings may be a few bytes of anything. */
static void add_series(pra_write_request *req, const char *const *labels, int64_t timestamp)
{
    pra_label list[64];
    size_t n = 0;
    const double value = 1;
    for (; labels[n]; n++) {
        const char *equals = strchr(labels[n], '=');
        list[n].name = (pra_str){labels[n], (size_t)(equals - labels[n])};
        list[n].value = (pra_str){equals + 1, strlen(equals + 1)};
    }
    assert_int_equal(pra_write_request_add_series(req, list, n), PRA_OK);
    assert_int_equal(pra_write_request_add_samples(req, &timestamp, &value, NULL, 1), PRA_OK);
}

/* What was handed to on_reject, as text. */
static void on_reject(void *ctx, int32_t kind, const pra_series *series, size_t index,
                      const pra_error *why)
{
    struct text *t = ctx;
    assert_int_equal(kind, PRA_DATUM_SERIES);
    assert_int_equal(why->code, PRA_ERR_LABELS);
    assert_int_equal(why->http_status, 400);
    text_printf(t, "%zu: %zu labels, %zu samples: %s\n", index, series->label_count,
                series->sample_count, why->message);
}

/* The same series as bytes of a message, since builder and decoder lay strings out differently. */
static pra_write_request *decoded_copy(const pra_write_request *req)
{
    pra_buffer *out;
    pra_write_request *copy = new_request();
    assert_int_equal(pra_buffer_new(NULL, &out), PRA_OK);
    assert_int_equal(pra_write_request_encode(req, PRA_WRITE_V1, out, NULL), PRA_OK);
    pra_buffer *block;
    assert_int_equal(pra_buffer_new(NULL, &block), PRA_OK);
    assert_int_equal(pra_snappy_compress(pra_buffer_data(out), pra_buffer_len(out), block, NULL),
                     PRA_OK);
    assert_int_equal(pra_write_request_decode_snappy(copy, PRA_WRITE_V1, pra_buffer_data(block),
                                                     pra_buffer_len(block), NULL, NULL),
                     PRA_OK);
    pra_buffer_free(block);
    pra_buffer_free(out);
    return copy;
}

struct row {
    const char *labels[8];
    const char *kept[8]; /* in the order expected; none: rejected */
    const char *reason;
};

/* [W-30] [W-32] */
static const struct row rows[] = {
    {{"__name__=m", "a=1", "b=2"}, {"__name__=m", "a=1", "b=2"}, NULL},
    {{"__name__=m", "b=2", "a=1"}, {"__name__=m", "a=1", "b=2"}, NULL},
    {{"__name__=m", "b=2", "c=3", "a=1"}, {"__name__=m", "a=1", "b=2", "c=3"}, NULL},
    {{"__name__=m", "a=1", "b="}, {"__name__=m", "a=1"}, NULL},
    {{"__name__=m", "b=", "a=1"}, {"__name__=m", "a=1"}, NULL},
    {{"a=", "b="}, {NULL}, "no metric name"},
    {{NULL}, {NULL}, "no metric name"},
    {{"__name__=m", "a=1", "a=1"}, {NULL}, "\"a\" is repeated"},
    {{"__name__=m", "b=1", "a=1", "b=2"}, {NULL}, "\"b\" is repeated"},
    {{"__name__=m", "a=1", "a="}, {NULL}, "\"a\" is repeated"}, /* as in Prometheus */
    {{"__name__=m", "=1", "a=1"}, {NULL}, "empty name"},
    {{"__name__=m", "a=1", "="}, {NULL}, "empty name"},
    {{"__name__=m", "a=\xff"}, {NULL}, "not valid UTF-8"},
    {{"__name__=m", "a=1", "\xc3=1"}, {NULL}, "not valid UTF-8"},
    {{"__name__=m", "a=\xed\xa0\x80"}, {NULL}, "not valid UTF-8"},     /* a surrogate */
    {{"__name__=m", "a=\xc0\xaf"}, {NULL}, "not valid UTF-8"},         /* overlong */
    {{"__name__=m", "a=\xf4\x90\x80\x80"}, {NULL}, "not valid UTF-8"}, /* above U+10FFFF */
    {{"__name__=m", "a=\xef\xbf\xbe", "b=\xef\xbf\xbf"},
     {"__name__=m", "a=\xef\xbf\xbe", "b=\xef\xbf\xbf"},
     NULL},
    {{"__name__=m", "\xc3\xa9=1", "a=\xf0\x9f\x98\x80"},
     {"__name__=m", "a=\xf0\x9f\x98\x80", "\xc3\xa9=1"},
     NULL},
    /* order of bytes, not of a locale; a prefix comes first */
    {{"a=1", "B=1", "__name__=m", "_=1"}, {"B=1", "_=1", "__name__=m", "a=1"}, NULL},
    {{"__name__=m", "labelname1=1", "labelname=1"},
     {"__name__=m", "labelname=1", "labelname1=1"},
     NULL},
    {{"__name__=m", "labelnam=1", "labelname=1"},
     {"__name__=m", "labelnam=1", "labelname=1"},
     NULL},
    {{"__name__=m", "labelname_b=1", "labelname_a=1"},
     {"__name__=m", "labelname_a=1", "labelname_b=1"},
     NULL},
    {{"__name__=m", "labelname_a=1", "labelname_a=2"}, {NULL}, "is repeated"},
    {{"__name__=m", "a\x7f=1", "a=2"}, {"__name__=m", "a=2", "a\x7f=1"}, NULL},
    /* [W-32] */
    {{"__name__=m"}, {"__name__=m"}, NULL},
    {{"__name__=m", "a=1"}, {"__name__=m", "a=1"}, NULL},
    {{"A=1", "__name__=m", "a=1"}, {"A=1", "__name__=m", "a=1"}, NULL},
    {{"a=1"}, {NULL}, "no metric name: the label __name__ is missing or empty"},
    {{"a=1", "b=2"}, {NULL}, "no metric name"},
    {{"__name__="}, {NULL}, "no metric name"},
    {{"__name__=", "a=1"}, {NULL}, "no metric name"},
    {{"a=1", "__name__="}, {NULL}, "no metric name"},
    {{"__name_=m", "__name__1=m"}, {NULL}, "no metric name"},
    {{"__name__=m", "__name__="}, {NULL}, "\"__name__\" is repeated"},
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

static void check_row(const struct row *row, pra_write_request *req)
{
    struct text told = {0}, expected = {0};
    int64_t rejected = pra_write_request_canonicalize(req, 0, on_reject, &told);
    struct text got = events_of(req);
    text_bytes(&expected, "", 0);
    if (row->reason) {
        assert_int_equal(rejected, 1);
        assert_non_null(strstr(told.data, row->reason));
        assert_non_null(strstr(told.data, "series 0: "));
    } else {
        pra_write_request *plain = new_request();
        assert_int_equal(rejected, 0);
        add_series(plain, row->kept, 5);
        text_free(&expected);
        expected = events_of(plain);
        pra_write_request_free(plain);
    }
    assert_string_equal(got.data, expected.data);
    text_free(&got);
    text_free(&told);
    text_free(&expected);
}

static void each_rule_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS; i++) {
        pra_write_request *req = new_request();
        add_series(req, rows[i].labels, 5);
        pra_write_request *decoded = decoded_copy(req);
        check_row(&rows[i], req);
        check_row(&rows[i], decoded);
        pra_write_request_free(req);
        pra_write_request_free(decoded);
    }
}

/* All rows in one request, each twice: what is kept moves together with its samples. */
static void rejected_series_leave_no_gap(void **state)
{
    pra_write_request *req = new_request(), *plain = new_request();
    struct text told = {0};
    int64_t bad = 0;
    (void)state;
    for (size_t i = 0; i < 2 * ROWS; i++) {
        const struct row *row = &rows[i % ROWS];
        add_series(req, row->labels, (int64_t)i);
        if (row->reason)
            bad++;
        else
            add_series(plain, row->kept, (int64_t)i);
    }
    assert_int_equal(pra_write_request_canonicalize(req, 0, on_reject, &told), bad);
    struct text got = events_of(req), expected = events_of(plain);
    assert_string_equal(got.data, expected.data);
    assert_non_null(strstr(told.data, "\n6: 0 labels, 1 samples: series 6: no metric name"));
    text_free(&got);
    text_free(&expected);
    text_free(&told);
    pra_write_request_free(req);
    pra_write_request_free(plain);
}

/* What a message with random series becomes when made canonical is what its good series become
 * alone: exemplars, histograms and buckets follow their series. */
static void random_series_keep_what_is_theirs(void **state)
{
    struct message_gen g = {.random = 8, .groups = 0};
    int64_t all_rejected = 0;
    size_t all_kept = 0;
    (void)state;
    for (int i = 0; i < 1500; i++) {
        struct text message = {0}, one_by_one = {0};
        pra_write_request *req = new_request(), *alone = new_request();
        pra_columns c = {.size = sizeof(c)};
        for (int j = 0; j < 4; j++)
            gen_write_v1(&g, &message);
        assert_int_equal(
            pra_write_request_decode(req, PRA_WRITE_V1, message.data, message.len, NULL, NULL),
            PRA_OK);
        text_bytes(&one_by_one, "", 0);
        for (size_t at = 0; at < message.len;) { /* each field of the message by itself */
            size_t len = 1;
            while (pra_write_request_decode(alone, PRA_WRITE_V1, message.data + at, len, NULL,
                                            NULL) != PRA_OK)
                len++;
            assert_int_equal(pra_write_request_columns(alone, &c), PRA_OK);
            if (c.series_count) {
                (void)pra_write_request_canonicalize(alone, 0, NULL, NULL);
                struct text one = events_of(alone);
                text_append(&one_by_one, &one);
                text_free(&one);
            }
            at += len;
        }
        all_rejected += pra_write_request_canonicalize(req, 0, NULL, NULL);
        assert_int_equal(pra_write_request_columns(req, &c), PRA_OK);
        all_kept += c.series_count;
        struct text got = {0};
        text_bytes(&got, "", 0);
        events_series(&got, &c, 0, c.series_count);
        assert_string_equal(got.data, one_by_one.data);
        assert_int_equal(pra_write_request_canonicalize(req, 0, NULL, NULL), 0);
        text_free(&got);
        text_free(&one_by_one);
        text_free(&message);
        pra_write_request_free(req);
        pra_write_request_free(alone);
    }
    assert_true(all_rejected > 1000);
    assert_true(all_kept > 1000);
}

/* Many labels in the worst order; labels far apart in the message. */
static void many_labels_are_sorted(void **state)
{
    enum { COUNT = 3000 }; /* the last one is __name__ */
    static pra_label labels[COUNT];
    static char names[COUNT][12];
    pra_write_request *req = new_request();
    pra_columns c = {.size = sizeof(c)};
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        (void)snprintf(names[i], sizeof(names[i]), i + 1 < COUNT ? "name%06d" : "__name__",
                       COUNT - i);
        labels[i] = (pra_label){{names[i], strlen(names[i])}, {"v", 1}};
    }
    assert_int_equal(pra_write_request_add_series(req, labels, COUNT), PRA_OK);
    assert_int_equal(pra_write_request_canonicalize(req, 0, NULL, NULL), 0);
    assert_int_equal(pra_write_request_columns(req, &c), PRA_OK);
    for (size_t i = 0; i < COUNT; i++)
        assert_memory_equal(c.base + c.labels[i].name.off, names[COUNT - 1 - i], i ? 10 : 8);
    pra_write_request_free(req);
}

/* Re-entry from the callback is refused and changes nothing. */
static void use_inside_the_callback(void *ctx, int32_t kind, const pra_series *series, size_t index,
                                    const pra_error *why)
{
    pra_write_request *req = ctx;
    pra_columns c = {.size = sizeof(c)};
    pra_buffer *out;
    (void)kind;
    (void)series;
    (void)index;
    (void)why;
    assert_int_equal(pra_buffer_new(NULL, &out), PRA_OK);
    assert_int_equal(pra_write_request_canonicalize(req, 0, NULL, NULL), PRA_ERR_BUSY);
    assert_int_equal(pra_write_request_columns(req, &c), PRA_ERR_BUSY);
    assert_int_equal(pra_write_request_decode(req, PRA_WRITE_V1, "", 0, NULL, NULL), PRA_ERR_BUSY);
    assert_int_equal(pra_write_request_encode(req, PRA_WRITE_V1, out, NULL), PRA_ERR_BUSY);
    assert_int_equal(pra_write_request_add_series(req, NULL, 0), PRA_ERR_BUSY);
    pra_write_request_reset(req);
    pra_buffer_free(out);
}

static void re_entry_is_refused(void **state)
{
    static const char *const good[] = {"__name__=m", NULL};
    static const char *const bad[] = {"a=1", "a=2", NULL};
    pra_write_request *req = new_request();
    pra_columns c = {.size = sizeof(c)};
    (void)state;
    add_series(req, good, 1);
    add_series(req, bad, 2);
    assert_int_equal(pra_write_request_canonicalize(req, 0, use_inside_the_callback, req), 1);
    assert_int_equal(pra_write_request_columns(req, &c), PRA_OK);
    assert_int_equal(c.series_count, 1);
    assert_int_equal(pra_write_request_canonicalize(NULL, 0, NULL, NULL), PRA_ERR_INVALID_ARG);
    pra_write_request_free(req);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_rule_alone),
        cmocka_unit_test(rejected_series_leave_no_gap),
        cmocka_unit_test(random_series_keep_what_is_theirs),
        cmocka_unit_test(many_labels_are_sorted),
        cmocka_unit_test(re_entry_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
