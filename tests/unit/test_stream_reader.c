/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "message/chunk_xor.h"
#include "message/stream_frame.h"
#include "pra.h"
#include "support/events.h"
#include "support/failing_alloc.h"
#include "support/text.h"
#include "wire/frame.h"

/* {a="b"} and {c="d"} */
static const uint8_t labels[2][8] = {
    {0x0A, 0x06, 0x0A, 1, 'a', 0x12, 1, 'b'},
    {0x0A, 0x06, 0x0A, 1, 'c', 0x12, 1, 'd'},
};

/* count samples of a series, in chunks of 5 and frames of max_bytes. */
static void add_series(pra_buffer *out, int series, int64_t query, size_t count, uint64_t max_bytes)
{
    struct pra__stream_frames f;
    pra_buffer *chunk;
    assert_int_equal(pra_buffer_new(NULL, &chunk), PRA_OK);
    pra__stream_frames_begin(&f, out, query, max_bytes, labels[series], sizeof(labels[series]));
    for (size_t at = 0; at < count; at += 5) {
        int64_t t[5];
        double v[5];
        size_t n = count - at < 5 ? count - at : 5;
        for (size_t i = 0; i < n; i++) {
            t[i] = (int64_t)(1000 * (at + i));
            v[i] = (double)(at + i) / 3;
        }
        pra_buffer_reset(chunk);
        assert_int_equal(pra_chunk_encode_samples(t, v, n, chunk), PRA_OK);
        assert_true(pra__stream_frames_chunk(&f, PRA_CHUNK_XOR, t[0], t[n - 1], chunk->data,
                                             chunk->len) >= 0);
    }
    pra__stream_frames_end(&f);
    pra_buffer_free(chunk);
}

/* A frame around a payload given in hexadecimal. */
static void add_frame(pra_buffer *out, const char *hex)
{
    struct text payload = text_of_hex(hex);
    uint8_t head[PRA__FRAME_HEAD_MOST];
    size_t size = (size_t)(pra__frame_head(head, payload.data, payload.len) - head);
    assert_int_equal(pra_buffer_append(out, head, size), PRA_OK);
    assert_int_equal(pra_buffer_append(out, payload.data, payload.len), PRA_OK);
    text_free(&payload);
}

static pra_buffer *new_buffer(void)
{
    pra_buffer *buf;
    assert_int_equal(pra_buffer_new(NULL, &buf), PRA_OK);
    return buf;
}

static pra_stream_reader *new_reader(const pra_limits *limits)
{
    pra_stream_reader *r;
    assert_int_equal(pra_stream_reader_new(NULL, limits, &r), PRA_OK);
    return r;
}

/* Frames as text, until next says something else, which is returned. */
static int take_frames(pra_stream_reader *r, struct text *t, pra_error *err)
{
    pra_columns c = {.size = sizeof(c)};
    int rc;
    while ((rc = pra_stream_reader_next(r, err)) == PRA_OK) {
        assert_int_equal(pra_stream_reader_columns(r, &c), PRA_OK);
        text_printf(t, "query %d\n", (int)pra_stream_reader_query_index(r));
        events_columns(t, &c);
    }
    assert_int_equal(pra_stream_reader_columns(r, &c), PRA_ERR_STATE);
    assert_int_equal(pra_stream_reader_query_index(r), -1);
    return rc;
}

/* Feeds pieces of this size. */
static struct text read_in_pieces(const pra_buffer *stream, size_t piece)
{
    pra_stream_reader *r = new_reader(NULL);
    struct text t = {0};
    pra_error err = {0};
    for (size_t at = 0; at < stream->len; at += piece) {
        size_t n = piece < stream->len - at ? piece : stream->len - at;
        assert_int_equal(pra_stream_reader_feed(r, stream->data + at, n), PRA_OK);
        assert_int_equal(take_frames(r, &t, &err), PRA_DONE);
        assert_int_equal(pra_stream_reader_feed(r, NULL, 0), PRA_OK);
    }
    assert_int_equal(pra_stream_reader_finish(r, &err), PRA_OK);
    pra_stream_reader_free(r);
    return t;
}

static void test_reads_frames(void **state)
{
    (void)state;
    pra_buffer *stream = new_buffer();
    add_series(stream, 0, 0, 7, 1 << 20);
    add_series(stream, 1, 1, 3, 1 << 20);
    struct text whole = read_in_pieces(stream, stream->len);
    assert_non_null(strstr(whole.data, "query 0\nseries\n  label \"a\"=\"b\"\n  sample 0 0x0\n"));
    assert_non_null(strstr(whole.data, "  sample 6000 0x4000000000000000\nquery 1\nseries\n"));
    assert_non_null(strstr(whole.data, "label \"c\"=\"d\"\n  sample 0 0x0\n  sample 1000 "));
    for (size_t piece = 1; piece < 40; piece += 3) {
        struct text t = read_in_pieces(stream, piece);
        assert_string_equal(whole.data, t.data);
        text_free(&t);
    }
    text_free(&whole);
    pra_buffer_free(stream);
}

/* the same samples in more frames, with the labels in each. */
static void test_series_over_frames(void **state)
{
    (void)state;
    pra_buffer *stream = new_buffer();
    add_series(stream, 0, 2, 17, 1);
    struct text t = read_in_pieces(stream, 1000);
    size_t frames = 0, samples = 0;
    for (const char *p = t.data; (p = strstr(p, "label \"a\"=\"b\"")) != NULL; p++)
        frames++;
    for (const char *p = t.data; (p = strstr(p, "sample ")) != NULL; p++)
        samples++;
    assert_int_equal(frames, 4);
    assert_int_equal(samples, 17);
    text_free(&t);
    pra_buffer_free(stream);
}

/* ---- */

#define GOOD "0a19 0a06 0a0161 120162 120f 1801 220b 0001 00 3ff0000000000000"

static const struct {
    const char *name;
    const char *payload;
    int code;
} rows[] = {
    {"a good one", GOOD, PRA_OK},
    {"an unknown field", GOOD " 1a0100 3001", PRA_OK},
    {"the series behind the query", "1005" GOOD, PRA_OK},
    {"two series", GOOD GOOD, PRA_OK},
    {"a series without labels and chunks", "0a00", PRA_OK},
    {"a chunk without samples", "0a08 1206 1801 2202 0000", PRA_OK},
    {"no series", "1001", PRA_ERR_FRAME},
    {"only an unknown field", "3001", PRA_ERR_FRAME},
    {"a chunk without data", "0a04 1202 1801", PRA_ERR_PROTO},
    {"a chunk without a type", "0a11 120f 1800 220b 0001 00 3ff0000000000000",
     PRA_ERR_NOT_SUPPORTED},
    {"a chunk of type 5", "0a11 120f 1805 220b 0001 00 3ff0000000000000", PRA_ERR_NOT_SUPPORTED},
    {"a chunk of type 7", "0a11 120f 1807 220b 0001 00 3ff0000000000000", PRA_ERR_NOT_SUPPORTED},
    {"a malformed chunk", "0a11 120f 1801 220b 0002 00 3ff0000000000000", PRA_ERR_PROTO},
    {"a field cut off", "0a19 0a06", PRA_ERR_PROTO},
    {"a chunk longer than its series", "0a03 120f 18", PRA_ERR_PROTO},
    {"the wrong wire type", "0801", PRA_ERR_PROTO},
    {"a query that is a string", GOOD "1200", PRA_ERR_PROTO},
};

static void test_payloads(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        pra_buffer *stream = new_buffer();
        pra_stream_reader *r = new_reader(NULL);
        pra_error err = {0}, again = {0};
        struct text t = {0};
        int expected = rows[i].code ? rows[i].code : PRA_DONE;
        add_frame(stream, GOOD);
        add_frame(stream, rows[i].payload);
        add_frame(stream, GOOD);
        assert_int_equal(pra_stream_reader_feed(r, stream->data, stream->len), PRA_OK);
        int rc = take_frames(r, &t, &err);
        if (rc != expected)
            fail_msg("%s: %d (%s)", rows[i].name, rc, err.message);
        assert_non_null(strstr(t.data, "sample 0 0x3ff0000000000000"));
        /* an error stays until reset */
        assert_int_equal(pra_stream_reader_next(r, &again), rc);
        assert_memory_equal(&err, &again, sizeof(err));
        assert_int_equal(pra_stream_reader_finish(r, &again), rc < 0 ? rc : PRA_OK);
        pra_stream_reader_reset(r);
        text_clear(&t);
        assert_int_equal(pra_stream_reader_finish(r, NULL), PRA_OK);
        pra_buffer_reset(stream);
        add_frame(stream, GOOD);
        assert_int_equal(pra_stream_reader_feed(r, stream->data, stream->len), PRA_OK);
        assert_int_equal(take_frames(r, &t, NULL), PRA_DONE);
        assert_true(t.len > 0);
        text_free(&t);
        pra_stream_reader_free(r);
        pra_buffer_free(stream);
    }
}

static int error_of(const pra_limits *limits, const char *hex, const char *message)
{
    struct text t = text_of_hex(hex);
    pra_stream_reader *r = new_reader(limits);
    pra_error err = {0};
    assert_int_equal(pra_stream_reader_feed(r, t.data, t.len), PRA_OK);
    int rc = pra_stream_reader_next(r, &err);
    if (!strstr(err.message, message))
        fail_msg("%s: %s", hex, err.message);
    pra_stream_reader_free(r);
    text_free(&t);
    return rc;
}

static void test_frames_that_are_refused(void **state)
{
    (void)state;
    pra_limits limits = {.size = sizeof(limits), .max_frame_read_bytes = 4};
    assert_int_equal(error_of(NULL, "05 53fe1f55 7465737431", "malformed"), PRA_ERR_PROTO);
    assert_int_equal(error_of(NULL, "05 53fe1f54 7465737431", "checksum"), PRA_ERR_FRAME);
    assert_int_equal(error_of(NULL, "05 53fe1f55 7465737432", "checksum"), PRA_ERR_FRAME);
    assert_int_equal(error_of(NULL, "00 00000000", "is 0"), PRA_ERR_FRAME);
    assert_int_equal(error_of(NULL, "ffffffffffffffffff02 00000000", "malformed"), PRA_ERR_FRAME);
    /* known before the bytes are there */
    assert_int_equal(error_of(&limits, "05 53fe1f55", "max_frame_read_bytes (4)"), PRA_ERR_FRAME);
    assert_int_equal(error_of(NULL, "81e1eb17 53fe1f55", "50000001 bytes"), PRA_ERR_FRAME);
    assert_int_equal(error_of(NULL, "80e1eb17 53fe1f55", ""), PRA_DONE);
    assert_int_equal(error_of(&limits, "04 53fe1f55", ""), PRA_DONE);
    limits.max_label_value_bytes = 1;
    limits.max_frame_read_bytes = 0;
    assert_int_equal(error_of(&limits, "0b 546cbe5d 0a09 0a07 0a0161 12026262", "label value"),
                     PRA_ERR_LABEL_VALUE_LENGTH);
}

static void test_truncated(void **state)
{
    (void)state;
    pra_buffer *stream = new_buffer();
    add_frame(stream, GOOD);
    const size_t frame = stream->len;
    add_frame(stream, GOOD);
    for (size_t len = 0; len <= stream->len; len++) {
        pra_stream_reader *r = new_reader(NULL);
        struct text t = {0};
        pra_error err = {0};
        assert_int_equal(pra_stream_reader_feed(r, stream->data, len), PRA_OK);
        assert_int_equal(take_frames(r, &t, &err), PRA_DONE);
        int whole = len % frame == 0;
        assert_int_equal(pra_stream_reader_finish(r, &err), whole ? PRA_OK : PRA_ERR_FRAME);
        assert_int_equal(err.code, whole ? PRA_OK : PRA_ERR_FRAME);
        text_free(&t);
        pra_stream_reader_free(r);
    }
    pra_buffer_free(stream);
}

/* What is before the frame that is being read does not stay. */
static void test_memory(void **state)
{
    (void)state;
    struct failing_alloc f;
    pra_stream_reader *r;
    pra_buffer *stream = new_buffer();
    add_series(stream, 0, 0, 1000, 100);
    failing_alloc_init(&f);
    assert_int_equal(pra_stream_reader_new(&f.alloc, NULL, &r), PRA_OK);
    for (int i = 0; i < 50; i++) {
        for (size_t at = 0; at < stream->len; at += 100) {
            size_t n = stream->len - at < 100 ? stream->len - at : 100;
            struct text t = {0};
            assert_int_equal(pra_stream_reader_feed(r, stream->data + at, n), PRA_OK);
            assert_int_equal(take_frames(r, &t, NULL), PRA_DONE);
            text_free(&t);
        }
    }
    assert_true(f.peak < 10000);
    pra_stream_reader_free(r);
    assert_int_equal(f.live, 0);
    pra_buffer_free(stream);
}

static int run(struct failing_alloc *f, void *arg)
{
    const pra_buffer *stream = arg;
    pra_stream_reader *r;
    int rc = pra_stream_reader_new(&f->alloc, NULL, &r);
    if (rc)
        return rc;
    rc = pra_stream_reader_feed(r, stream->data, stream->len);
    while (rc == PRA_OK)
        rc = pra_stream_reader_next(r, NULL);
    pra_stream_reader_free(r);
    return rc == PRA_DONE ? PRA_OK : rc;
}

static void test_oom(void **state)
{
    (void)state;
    pra_buffer *stream = new_buffer();
    add_series(stream, 0, 0, 40, 30);
    const char *wrong = failing_alloc_loop(run, stream);
    if (wrong)
        fail_msg("%s", wrong);
    /* a frame that found no memory is still there */
    struct failing_alloc f;
    pra_stream_reader *r;
    struct text t = {0};
    failing_alloc_init(&f);
    assert_int_equal(pra_stream_reader_new(&f.alloc, NULL, &r), PRA_OK);
    assert_int_equal(pra_stream_reader_feed(r, stream->data, stream->len), PRA_OK);
    f.mode = FAIL_ONCE;
    f.fail_at = f.calls;
    assert_int_equal(pra_stream_reader_next(r, NULL), PRA_ERR_NOMEM);
    assert_int_equal(take_frames(r, &t, NULL), PRA_DONE);
    struct text whole = read_in_pieces(stream, stream->len);
    assert_string_equal(t.data, whole.data);
    text_free(&t);
    text_free(&whole);
    pra_stream_reader_free(r);
    pra_buffer_free(stream);
}

static void test_wrong_calls(void **state)
{
    (void)state;
    pra_stream_reader *r;
    pra_columns c = {.size = sizeof(c)};
    pra_limits limits = {.size = 1};
    assert_int_equal(pra_stream_reader_new(NULL, NULL, NULL), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_stream_reader_new(NULL, &limits, &r), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_stream_reader_feed(NULL, "", 0), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_stream_reader_next(NULL, NULL), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_stream_reader_finish(NULL, NULL), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_stream_reader_columns(NULL, &c), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_stream_reader_query_index(NULL), -1);
    r = new_reader(NULL);
    assert_int_equal(pra_stream_reader_feed(r, NULL, 1), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_stream_reader_next(r, NULL), PRA_DONE);
    assert_int_equal(pra_stream_reader_columns(r, NULL), PRA_ERR_INVALID_ARG);
    pra_stream_reader_free(r);
    pra_stream_reader_free(NULL);
    pra_stream_reader_reset(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_frames), cmocka_unit_test(test_series_over_frames),
        cmocka_unit_test(test_payloads),     cmocka_unit_test(test_frames_that_are_refused),
        cmocka_unit_test(test_truncated),    cmocka_unit_test(test_memory),
        cmocka_unit_test(test_oom),          cmocka_unit_test(test_wrong_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
