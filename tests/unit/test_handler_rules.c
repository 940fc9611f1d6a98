/* SPDX-License-Identifier: Apache-2.0 */
/* What the handler answers to whatever a peer sends and a storage does, rule by rule (W-…, R-… as
 * in the README): every row driven and stepped, its body whole and byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "pra.h"
#include "support/failing_alloc.h"
#include "support/hosted.h"

#define S(text) ((pra_str){(text), sizeof(text) - 1})

#define TYPE(value) "content-type: " value "\n"
#define SNAPPY "content-encoding: snappy\n"
#define V1 TYPE("application/x-protobuf") SNAPPY

enum { MAX_BODY = 4096, MAX_DECODED = 8192 };

static int set_up(void **state)
{
    const pra_limits limits = {
        .size = sizeof(limits), .max_body_bytes = MAX_BODY, .max_decoded_bytes = MAX_DECODED};
    const pra_handler_opts opts = {.size = sizeof(opts), .limits = &limits};
    *state = hosted_new(NULL, &opts);
    return 0;
}

static int tear_down(void **state)
{
    struct hosted *h = *state;
    struct hosted_storage *storage = h->storage;
    hosted_free(h);
    assert_int_equal(storage->destroyed, 1);
    hosted_storage_free(storage);
    return 0;
}

/* ── What is seen of every answer, whatever it is ── */

static pra_str header(const pra_exchange *x, const char *name)
{
    const pra_header *headers;
    size_t count = pra_exchange_headers(x, &headers);
    pra_str found = {"", 0};
    for (size_t i = 0; i < count; i++)
        if (headers[i].name.len == strlen(name) &&
            memcmp(headers[i].name.ptr, name, strlen(name)) == 0)
            found = headers[i].value;
    return found;
}

static void assert_header(const pra_exchange *x, const char *name, const char *value)
{
    pra_str found = header(x, name);
    if (found.len != strlen(value) || memcmp(found.ptr, value, found.len) != 0)
        fail_msg("%s: %.*s, not %s", name, (int)found.len, found.ptr, value);
}

static void assert_no_written_headers(const pra_exchange *x)
{
    const pra_header *headers;
    size_t count = pra_exchange_headers(x, &headers);
    for (size_t i = 0; i < count; i++)
        assert_false(headers[i].name.len > 24 &&
                     memcmp(headers[i].name.ptr, "X-Prometheus-Remote-Write", 25) == 0);
}

/* One line of text, below 4 KiB, that ends where it says it does. */
static void assert_error_body(pra_exchange *x, pra_str body)
{
    assert_in_range(body.len, 2, 4095);
    assert_ptr_equal(memchr(body.ptr, '\n', body.len), body.ptr + body.len - 1);
    for (size_t i = 0; i + 1 < body.len; i++)
        assert_false((unsigned char)body.ptr[i] < 0x20);
    assert_header(x, "Content-Type", "text/plain; charset=utf-8");
    assert_true(pra_exchange_error(x)->code != 0);
    assert_true(pra_exchange_error(x)->message[0] != 0);
}

static void check_answer(struct hosted *h, int status)
{
    pra_exchange *x = h->x;
    pra_exchange_stats stats = {.size = sizeof(stats)};
    const void *piece = NULL;
    size_t len = 0;
    if (pra_exchange_status(x) != status)
        fail_msg("status %d, not %d: %s", pra_exchange_status(x), status,
                 pra_exchange_error(x)->message);
    assert_int_equal(pra_exchange_step(x), PRA_STEP_RESPOND);
    uint64_t announced = pra_exchange_body_length(x);
    int rc = pra_exchange_body(x, &piece, &len);
    assert_int_equal(rc, announced ? PRA_OK : PRA_DONE);
    assert_int_equal(len, announced);
    h->answer = (pra_str){piece, len};
    assert_int_equal(pra_exchange_body(x, &piece, &len), PRA_DONE);
    if (status >= 400)
        assert_error_body(x, h->answer);
    else
        assert_int_equal(pra_exchange_error(x)->code, 0);
    if (status == 204) /* W-20 */
        assert_int_equal(announced, 0);
    assert_no_written_headers(x); /* W-26 */
    assert_int_equal(pra_exchange_get_stats(x, &stats), PRA_OK);
    assert_int_equal(stats.status, status);
    assert_int_equal(stats.code, pra_exchange_error(x)->code);
    /* Too late for all of these. */
    assert_int_equal(pra_exchange_run(x), PRA_ERR_STATE);
    assert_int_equal(pra_exchange_finish(x, 0, NULL), PRA_ERR_STATE);
    assert_int_equal(pra_exchange_feed(x, "x", 1), PRA_DONE);
    assert_int_equal(pra_exchange_end(x), PRA_DONE);
    assert_null(pra_exchange_write_request(x));
    assert_null(pra_exchange_write_result(x));
    assert_null(pra_exchange_read_request(x));
    assert_null(pra_exchange_sink(x, 0));
}

/* ── W-01 to W-13: what is a request ── */

static const char BOMB[] = "\x97\xea\xb4\x89\x0a\x17\x0a\x08\x5f\x5f\x6e\x61\x6d\x65\x5f\x5f\x12"
                           "\x0b\x74\x65\x73\x74\x5f\x6d\x65\x74\x72\x69\x63\x12\x10\x09\x00\x00"
                           "\x00\x00\x00\x00\xf0\x3f\x10\xd4\x8f\xc9\xb2\xa3\x33";

/* declares MAX_DECODED + 1 bytes, as it could */
static const char DECLARED[400] = "\x81\x40";

/* snappy blocks, written out: length, then literals */
#define NOTHING                                                                                    \
    {                                                                                              \
        NULL, 0                                                                                    \
    }
#define EMPTY_MESSAGE S("\x00")
#define METADATA_ONLY                                                                              \
    S("\x09\x20\x1a\x07\x08\x01\x12\x03"                                                           \
      "foo")
#define UNKNOWN_FIELD                                                                              \
    S("\x05\x10\x7a\x03"                                                                           \
      "abc")
#define UNKNOWN_GROUP S("\x04\x0c\x7b\x08\x01\x7c")
#define CUT_SHORT                                                                                  \
    S("\x03\x08\x0a\x7f"                                                                           \
      "a")
#define WRONG_WIRE_TYPE S("\x02\x04\x08\x01")
#define NOT_SNAPPY S("\x05\xff\xff\xff\xff\xff\xff\xff\xff")
#define FRAMED S("\xff\x06\x00\x00sNaPpY")

struct row {
    const char *rule;
    const char *method;
    const char *target;
    const char *headers; /* lines of name: value */
    pra_str body;
    int status;
    int code;
};

#define W "/api/v1/write"
#define R "/api/v1/read"

static const struct row rows[] = {
    /* paths and methods */
    {"W-01", "POST", W, V1, EMPTY_MESSAGE, 204, 0},
    {"W-01 any path", "POST", "/x/y/write?a=b/c", V1, EMPTY_MESSAGE, 204, 0},
    {"W-01 receive", "POST", "/api/v1/receive", V1, EMPTY_MESSAGE, 204, 0},
    {"W-01", "GET", W, V1, EMPTY_MESSAGE, 405, PRA_ERR_METHOD},
    {"W-01", "PUT", W, V1, EMPTY_MESSAGE, 405, PRA_ERR_METHOD},
    {"W-01 methods mind case", "post", W, V1, EMPTY_MESSAGE, 405, PRA_ERR_METHOD},
    {"W-01", "", W, V1, EMPTY_MESSAGE, 405, PRA_ERR_METHOD},
    {"W-01", "POSTS", W, V1, EMPTY_MESSAGE, 405, PRA_ERR_METHOD},
    {"R-01", "GET", R, SNAPPY, EMPTY_MESSAGE, 405, PRA_ERR_METHOD},
    {"no such path", "POST", "/", V1, EMPTY_MESSAGE, 404, PRA_ERR_PATH},
    {"no such path", "POST", "", V1, EMPTY_MESSAGE, 404, PRA_ERR_PATH},
    {"no such path", "POST", "/api/v1/write/", V1, EMPTY_MESSAGE, 404, PRA_ERR_PATH},
    {"no such path", "POST", "/other?/write", V1, EMPTY_MESSAGE, 404, PRA_ERR_PATH},
    /* encoding */
    {"W-02 missing", "POST", W, TYPE("application/x-protobuf"), EMPTY_MESSAGE, 204, 0},
    {"W-02 case", "POST", W, V1 "CONTENT-ENCODING-X: gzip\n", EMPTY_MESSAGE, 204, 0},
    {"W-02 case", "POST", W, "Content-Encoding: Snappy\n", EMPTY_MESSAGE, 204, 0},
    {"W-02 space", "POST", W, "Content-Encoding:  snappy \t\n", EMPTY_MESSAGE, 204, 0},
    {"W-02 zstd", "POST", W, "content-encoding: zstd\n", EMPTY_MESSAGE, 415,
     PRA_ERR_CONTENT_ENCODING},
    {"W-02 gzip", "POST", W, "content-encoding: gzip\n", EMPTY_MESSAGE, 415,
     PRA_ERR_CONTENT_ENCODING},
    {"W-02 twice", "POST", W, SNAPPY SNAPPY, EMPTY_MESSAGE, 415, PRA_ERR_CONTENT_ENCODING},
    {"W-02 list", "POST", W, "content-encoding: snappy, gzip\n", EMPTY_MESSAGE, 415,
     PRA_ERR_CONTENT_ENCODING},
    {"W-02 framed", "POST", W, "content-encoding: x-snappy-framed\n", EMPTY_MESSAGE, 415,
     PRA_ERR_CONTENT_ENCODING},
    {"R-01 zstd", "POST", R, "content-encoding: zstd\n", EMPTY_MESSAGE, 415,
     PRA_ERR_CONTENT_ENCODING},
    /* type */
    {"W-03", "POST", W, TYPE("application/x-protobuf;proto=prometheus.WriteRequest"), EMPTY_MESSAGE,
     204, 0},
    {"W-03 v2", "POST", W, TYPE("application/x-protobuf;proto=io.prometheus.write.v2.Request"),
     EMPTY_MESSAGE, 415, PRA_ERR_CONTENT_TYPE},
    {"W-03 other message", "POST", W, TYPE("application/x-protobuf;proto=foo"), EMPTY_MESSAGE, 415,
     PRA_ERR_CONTENT_TYPE},
    {"W-03", "POST", W, TYPE("application/json"), EMPTY_MESSAGE, 415, PRA_ERR_CONTENT_TYPE},
    {"W-03", "POST", W, TYPE("application/vnd.google.protobuf"), EMPTY_MESSAGE, 415,
     PRA_ERR_CONTENT_TYPE},
    {"W-03", "POST", W, TYPE("application/x-protobuf2"), EMPTY_MESSAGE, 415, PRA_ERR_CONTENT_TYPE},
    {"W-03", "POST", W, TYPE("text/x-protobuf"), EMPTY_MESSAGE, 415, PRA_ERR_CONTENT_TYPE},
    {"W-03", "POST", W, TYPE("application"), EMPTY_MESSAGE, 415, PRA_ERR_CONTENT_TYPE},
    {"W-03 twice", "POST", W, V1 V1, EMPTY_MESSAGE, 415, PRA_ERR_CONTENT_ENCODING},
    {"W-03 twice", "POST", W, TYPE("application/x-protobuf") TYPE("application/json"),
     EMPTY_MESSAGE, 415, PRA_ERR_CONTENT_TYPE},
    {"W-04 missing", "POST", W, "", EMPTY_MESSAGE, 204, 0},
    {"W-04 empty", "POST", W, TYPE(""), EMPTY_MESSAGE, 204, 0},
    {"W-05 case", "POST", W, TYPE("Application/X-PROTOBUF; PROTO=prometheus.WriteRequest"),
     EMPTY_MESSAGE, 204, 0},
    {"W-05 message names mind case", "POST", W,
     TYPE("application/x-protobuf;proto=PROMETHEUS.WriteRequest"), EMPTY_MESSAGE, 415,
     PRA_ERR_CONTENT_TYPE},
    {"W-05 space", "POST", W,
     TYPE("  application/x-protobuf \t; \t proto=io.prometheus.write.v2.Request  "), EMPTY_MESSAGE,
     415, PRA_ERR_CONTENT_TYPE},
    {"W-05 space", "POST", W, TYPE("application/x-protobuf \t; \t proto=prometheus.WriteRequest "),
     EMPTY_MESSAGE, 204, 0},
    {"W-05 quotes", "POST", W, TYPE("application/x-protobuf; proto=\"prometheus.WriteRequest\""),
     EMPTY_MESSAGE, 204, 0},
    {"W-05 quoted pair", "POST", W,
     TYPE("application/x-protobuf; proto=\"prometheus\\.WriteReques\\t\""), EMPTY_MESSAGE, 204, 0},
    {"W-05 quotes", "POST", W,
     TYPE("application/x-protobuf; proto=\"io.prometheus.write.v2.Request\""), EMPTY_MESSAGE, 415,
     PRA_ERR_CONTENT_TYPE},
    {"W-05 open quote", "POST", W, TYPE("application/x-protobuf; proto=\"prometheus.WriteRequest"),
     EMPTY_MESSAGE, 415, PRA_ERR_CONTENT_TYPE},
    {"W-05 other parameters", "POST", W, TYPE("application/x-protobuf; charset=\"a;proto=x\"; q=1"),
     EMPTY_MESSAGE, 204, 0},
    {"W-05 no value", "POST", W, TYPE("application/x-protobuf; proto"), EMPTY_MESSAGE, 415,
     PRA_ERR_CONTENT_TYPE},
    {"W-05 empty value", "POST", W, TYPE("application/x-protobuf; proto="), EMPTY_MESSAGE, 415,
     PRA_ERR_CONTENT_TYPE},
    {"W-05 space around =", "POST", W,
     TYPE("application/x-protobuf; proto = prometheus.WriteRequest"), EMPTY_MESSAGE, 415,
     PRA_ERR_CONTENT_TYPE},
    {"W-05 twice", "POST", W,
     TYPE("application/x-protobuf; proto=prometheus.WriteRequest; "
          "proto=io.prometheus.write.v2.Request"),
     EMPTY_MESSAGE, 415, PRA_ERR_CONTENT_TYPE},
    {"W-05 empty parameter", "POST", W, TYPE("application/x-protobuf;"), EMPTY_MESSAGE, 204, 0},
    {"R-01 no type checked", "POST", R, TYPE("application/json"), EMPTY_MESSAGE, 200, 0},
    {"R-01 nothing needed", "POST", R, "", EMPTY_MESSAGE, 200, 0},
    {"R-01 as Prometheus", "POST", R,
     V1 "accept-encoding: snappy\nx-prometheus-remote-read-version: 0.1.0\n", EMPTY_MESSAGE, 200,
     0},
    {"W-06 version", "POST", W, V1 "x-prometheus-remote-write-version: 2.0.0\n", EMPTY_MESSAGE, 204,
     0},
    {"W-06 version", "POST", W, V1 "x-prometheus-remote-write-version: nonsense\n", EMPTY_MESSAGE,
     204, 0},
    {"W-07 agent", "POST", W, V1 "user-agent: \n", EMPTY_MESSAGE, 204, 0},
    /* size */
    {"W-08 announced", "POST", W, V1 "content-length: 4097\n", EMPTY_MESSAGE, 413,
     PRA_ERR_BODY_TOO_LARGE},
    {"W-08 announced", "POST", R, V1 "content-length: 18446744073709551615\n", EMPTY_MESSAGE, 413,
     PRA_ERR_BODY_TOO_LARGE},
    {"length", "POST", W, V1 "content-length: 1\n", EMPTY_MESSAGE, 204, 0},
    {"length", "POST", W, V1 "content-length: 2\n", EMPTY_MESSAGE, 400, PRA_ERR_BODY_INCOMPLETE},
    {"length", "POST", W, V1 "content-length: 0\n", EMPTY_MESSAGE, 400, PRA_ERR_BODY_INCOMPLETE},
    {"length", "POST", W, V1 "content-length: -1\n", EMPTY_MESSAGE, 400, PRA_ERR_BODY_INCOMPLETE},
    {"length", "POST", W, V1 "content-length: 1x\n", EMPTY_MESSAGE, 400, PRA_ERR_BODY_INCOMPLETE},
    {"length", "POST", W, V1 "content-length: 99999999999999999999999\n", EMPTY_MESSAGE, 400,
     PRA_ERR_BODY_INCOMPLETE},
    {"length twice", "POST", W, V1 "content-length: 1\ncontent-length: 1\n", EMPTY_MESSAGE, 400,
     PRA_ERR_BODY_INCOMPLETE},
    /* snappy */
    {"W-08 no body", "POST", W, V1, NOTHING, 400, PRA_ERR_SNAPPY},
    {"W-08 no body", "POST", "/write?get_vm_proto_version=1", "", NOTHING, 400, PRA_ERR_SNAPPY},
    {"W-08 corrupt", "POST", W, V1, NOT_SNAPPY, 400, PRA_ERR_SNAPPY},
    {"W-08 corrupt", "POST", R, V1, NOT_SNAPPY, 400, PRA_ERR_SNAPPY},
    {"W-08 framed", "POST", W, V1, FRAMED, 400, PRA_ERR_SNAPPY_RATIO},
    {"W-08 length over the limit",
     "POST",
     W,
     V1,
     {DECLARED, sizeof(DECLARED)},
     400,
     PRA_ERR_DECODED_TOO_LARGE},
    {"W-08 bomb", "POST", W, V1, {BOMB, sizeof(BOMB) - 1}, 400, PRA_ERR_SNAPPY_RATIO},
    {"R-04 bomb", "POST", R, V1, {BOMB, sizeof(BOMB) - 1}, 400, PRA_ERR_SNAPPY_RATIO},
    {"W-08 ratio", "POST", W, V1, S("\xff\xff\x3f\x00"), 400, PRA_ERR_SNAPPY_RATIO},
    /* message */
    {"W-08 proto", "POST", W, V1, CUT_SHORT, 400, PRA_ERR_PROTO},
    {"W-08 proto", "POST", W, V1, WRONG_WIRE_TYPE, 400, PRA_ERR_PROTO},
    {"R-04 proto", "POST", R, V1, CUT_SHORT, 400, PRA_ERR_PROTO},
    {"W-10 metadata only", "POST", W, V1, METADATA_ONLY, 204, 0},
    {"W-11 unknown field", "POST", W, V1, UNKNOWN_FIELD, 204, 0},
    {"W-11 unknown group", "POST", W, V1, UNKNOWN_GROUP, 204, 0},
    {"R-02 unknown type skipped", "POST", R, V1, S("\x04\x0c\x10\x07\x10\x00"), 200, 0},
    {"R-02 streamed, then samples", "POST", R, V1, S("\x04\x0c\x12\x02\x01\x00"), 200, 0},
    {"R-02 streamed only", "POST", R, V1, S("\x02\x04\x10\x01"), 400, PRA_ERR_RESPONSE_TYPE},
    {"R-02 unknown only", "POST", R, V1, S("\x02\x04\x10\x07"), 400, PRA_ERR_RESPONSE_TYPE},
    {"R-06 unknown matcher", "POST", R, V1, S("\x06\x14\x0a\x04\x1a\x02\x08\x09"), 400,
     PRA_ERR_MATCHER},
#ifdef PRA_HAVE_RE2
    {"R-04 bad pattern", "POST", R, V1,
     S("\x09\x20\x0a\x07\x1a\x05\x08\x02\x1a\x01"
       "("),
     400, PRA_ERR_MATCHER},
#endif
    /* of several faults the first in this order is told: path, method, encoding, type, size,
     * snappy, proto; a wrong type with a corrupt body is 415 here (W-13) */
    {"order: path", "GET", "/x", "content-encoding: zstd\n", NOT_SNAPPY, 404, PRA_ERR_PATH},
    {"order: method", "GET", W, "content-encoding: zstd\n" TYPE("a/b"), NOT_SNAPPY, 405,
     PRA_ERR_METHOD},
    {"order: encoding", "POST", W, "content-encoding: zstd\n" TYPE("a/b"), NOT_SNAPPY, 415,
     PRA_ERR_CONTENT_ENCODING},
    {"W-13 order: type", "POST", W, SNAPPY TYPE("a/b") "content-length: 9999\n", NOT_SNAPPY, 415,
     PRA_ERR_CONTENT_TYPE},
    {"W-13 order: type", "POST", W, SNAPPY TYPE("a/b"), NOT_SNAPPY, 415, PRA_ERR_CONTENT_TYPE},
    {"order: size", "POST", W, V1 "content-length: 9999\n", NOT_SNAPPY, 413,
     PRA_ERR_BODY_TOO_LARGE},
};

static void check_row(struct hosted *h, const struct row *row, struct hosted_way way)
{
    int writes = h->storage->writes;
    hosted_exchange(h, row->method, row->target, row->headers, row->body, way);
    if (pra_exchange_status(h->x) != row->status || pra_exchange_error(h->x)->code != row->code)
        fail_msg("%s (%s %s): %d %d (%s), not %d %d", row->rule, row->method, row->target,
                 pra_exchange_status(h->x), pra_exchange_error(h->x)->code,
                 pra_exchange_error(h->x)->message, row->status, row->code);
    check_answer(h, row->status);
    assert_int_equal(h->storage->writes - writes, row->status == 204);
    if (row->status == 405)
        assert_header(h->x, "Allow", "POST");
}

static const struct hosted_way ways[] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}};

static void table_of_requests(void **state)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (size_t way = 0; way < 4; way++)
            check_row(*state, &rows[i], ways[way]);
}

/* After any of the rows the exchange serves the next request as if nothing had been. */
static void every_row_leaves_the_exchange_usable(void **state)
{
    struct hosted *h = *state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        check_row(h, &rows[i], ways[i % 4]);
        hosted_write(h, S("good"), ways[(i + 1) % 4]);
        check_answer(h, 204);
        pra_exchange_stats stats = {.size = sizeof(stats)};
        assert_int_equal(pra_exchange_get_stats(h->x, &stats), PRA_OK);
        assert_int_equal(stats.samples, 1);
        assert_int_equal(stats.version, PRA_WRITE_V1);
    }
}

static void W08_body_over_the_limit_in_pieces(void **state)
{
    struct hosted *h = *state;
    static const char zeros[MAX_BODY];
    hosted_begin(h, "POST", W, V1);
    assert_int_equal(pra_exchange_feed(h->x, zeros, MAX_BODY), PRA_OK);
    assert_int_equal(pra_exchange_feed(h->x, zeros, 1), PRA_DONE);
    check_answer(h, 413);
    assert_non_null(strstr(pra_exchange_error(h->x)->message, "max_body_bytes"));
}

/* A message of many empty series grows columns until the budget ends it. What the exchange keeps of
 * them must do for the next request. */
static void over_the_memory_budget(void **state)
{
    (void)state;
    static char message[400000];
    for (size_t i = 0; i < sizeof(message); i += 2)
        message[i] = 0x0a;
    pra_buffer *body;
    assert_int_equal(pra_buffer_new(NULL, &body), PRA_OK);
    assert_int_equal(pra_snappy_compress(message, sizeof(message), body, NULL), PRA_OK);
    for (uint64_t retain = 1 << 10; retain < 4 << 20; retain += retain / 4) {
        const pra_limits limits = {
            .size = sizeof(limits), .max_memory_bytes = 2 << 20, .retain_bytes = retain};
        const pra_handler_opts opts = {.size = sizeof(opts), .limits = &limits};
        struct hosted *h = hosted_new(NULL, &opts);
        for (int i = 0; i < 3; i++) {
            hosted_exchange(h, "POST", W, V1,
                            (pra_str){pra_buffer_data(body), pra_buffer_len(body)}, ways[0]);
            check_answer(h, 413);
            assert_int_equal(pra_exchange_error(h->x)->code, PRA_ERR_MEMORY_BUDGET);
            hosted_write(h, S("good"), ways[0]);
            check_answer(h, 204);
        }
        struct hosted_storage *storage = h->storage;
        hosted_free(h);
        hosted_storage_free(storage);
    }
    pra_buffer_free(body);
}

static void head_over_the_limit(void **state)
{
    struct hosted *h = *state;
    static char target[70000] = "/write?";
    memset(target + 7, 'a', sizeof(target) - 8);
    hosted_exchange(h, "POST", target, V1, EMPTY_MESSAGE, ways[0]);
    check_answer(h, 431);
    hosted_write(h, S("good"), ways[0]);
    check_answer(h, 204);
}

static void calls_out_of_order_are_refused(void **state)
{
    struct hosted *h = *state;
    pra_exchange *x = h->x;
    const void *piece;
    size_t len;
    assert_int_equal(pra_exchange_feed(x, "x", 1), PRA_ERR_STATE);
    assert_int_equal(pra_exchange_end(x), PRA_ERR_STATE);
    assert_int_equal(pra_exchange_run(x), PRA_ERR_STATE);
    assert_int_equal(pra_exchange_finish(x, 0, NULL), PRA_ERR_STATE);
    assert_int_equal(pra_exchange_body(x, &piece, &len), PRA_ERR_STATE);
    assert_int_equal(pra_exchange_status(x), 0);
    hosted_begin(h, "POST", W, V1);
    assert_int_equal(pra_exchange_run(x), PRA_ERR_STATE);
    assert_int_equal(pra_exchange_body(x, &piece, &len), PRA_ERR_STATE);
    assert_int_equal(pra_exchange_feed(x, "\0", 1), PRA_OK);
    assert_int_equal(pra_exchange_end(x), PRA_OK);
    assert_int_equal(pra_exchange_step(x), PRA_STEP_WRITE);
    assert_int_equal(pra_exchange_feed(x, "\0", 1), PRA_ERR_STATE);
    assert_int_equal(pra_exchange_end(x), PRA_ERR_STATE);
    assert_null(pra_exchange_read_request(x));
    assert_int_equal(pra_exchange_status(x), 0);
    /* given up in the middle, begun anew */
    hosted_write(h, S("good"), ways[1]);
    check_answer(h, 204);
    assert_int_equal(h->storage->writes, 1);
    pra_request_head head = {.size = 4};
    assert_int_equal(pra_exchange_begin(x, &head), PRA_ERR_INVALID_ARG);
    check_answer(h, 204);
}

/* ── W-20 to W-28, W-32: what a storage makes of a write ── */

struct outcome {
    const char *rule;
    int code;            /* what the storage returns */
    int32_t http_status; /* what it wishes, 0 if nothing */
    uint32_t retry_after;
    int status; /* what is answered */
    const char *retry_header;
};

static const struct outcome outcomes[] = {
    {"W-20 stored", PRA_OK, 0, 0, 204, ""},
    {"W-20 a wish without a failure", PRA_OK, 500, 3, 204, ""},
    {"W-23 refused", PRA_ERR_REJECT, 0, 0, 400, ""},
    {"W-23 refused, as wished", PRA_ERR_REJECT, 422, 0, 422, ""},
    {"W-23 no Retry-After with 4xx", PRA_ERR_REJECT, 403, 7, 403, ""},
    {"W-23 429 is no refusal", PRA_ERR_REJECT, 429, 0, 400, ""},
    {"W-23 5xx is no refusal", PRA_ERR_REJECT, 500, 0, 400, ""},
    {"W-21 2xx is no refusal", PRA_ERR_REJECT, 204, 0, 400, ""},
    {"W-23 later", PRA_ERR_RETRY, 0, 0, 503, ""},
    {"W-23 later, Retry-After", PRA_ERR_RETRY, 0, 120, 503, "120"},
    {"W-23 429, Retry-After", PRA_ERR_RETRY, 429, 4294967295u, 429, "4294967295"},
    {"W-23 later, as wished", PRA_ERR_RETRY, 507, 1, 507, "1"},
    {"W-23 4xx is no retry", PRA_ERR_RETRY, 400, 0, 503, ""},
    {"W-23 2xx is no retry", PRA_ERR_RETRY, 200, 0, 503, ""},
    {"W-23 6xx is nothing", PRA_ERR_RETRY, 600, 0, 503, ""},
    {"exception", PRA_ERR_USER, 0, 0, 500, ""},
    {"exception has no wish", PRA_ERR_USER, 400, 0, 500, ""},
    {"other code", 42, 0, 0, 500, ""},
    {"other code", PRA_DONE, 0, 0, 500, ""},
    {"other code", -1, 0, 0, 500, ""},
    {"code of ours that makes no sense", PRA_ERR_PROTO, 0, 0, 500, ""},
    {"code of ours", PRA_ERR_NOMEM, 0, 0, 503, ""},
    {"code of ours", PRA_ERR_IO, 0, 9, 503, "9"},
    {"code of ours", PRA_ERR_CANCELLED, 0, 0, 503, ""},
    {"code of ours", PRA_ERR_CORRUPT, 0, 0, 500, ""},
    {"no such entry", PRA_ERR_NOT_SUPPORTED, 0, 0, 404, ""},
};

/* kind 0: sets nothing but the status; 1: a message as well; 2: one with line breaks */
static void check_outcome(struct hosted *h, const struct outcome *o, int kind,
                          struct hosted_way way)
{
    struct hosted_storage *s = h->storage;
    static const char *const messages[] = {NULL, "disk is full", "two\r\nlines\n\tand \x01 more\n"};
    s->code = o->code;
    s->http_status = o->http_status;
    s->retry_after = o->retry_after;
    s->message = messages[kind];
    hosted_write(h, S("v"), way);
    if (pra_exchange_status(h->x) != o->status)
        fail_msg("%s: %d, not %d", o->rule, pra_exchange_status(h->x), o->status);
    check_answer(h, o->status);
    assert_header(h->x, "Retry-After", o->retry_header);
    if (kind == 1 && o->status >= 400)
        assert_memory_equal(h->answer.ptr, "disk is full\n", 13);
    if (!way.stepped)
        assert_int_equal(h->ran, o->code == PRA_ERR_USER ? PRA_ERR_USER : PRA_OK);
    hosted_read(h, "v", way); /* the same outcomes hold for reads */
    check_answer(h, o->status == 204 ? 200 : o->status);
}

static void table_of_outcomes(void **state)
{
    for (size_t i = 0; i < sizeof(outcomes) / sizeof(outcomes[0]); i++)
        for (int kind = 0; kind < 3; kind++)
            for (size_t way = 0; way < 4; way++)
                check_outcome(*state, &outcomes[i], kind, ways[way]);
}

static void W22_partly_stored(void **state)
{
    struct hosted *h = *state;
    for (size_t way = 0; way < 4; way++) {
        h->storage->reject = 1;
        h->storage->reason = S("too old\n");
        hosted_write(h, S("va\"l\nue"), ways[way]);
        check_answer(h, 400);
        assert_non_null(strstr(pra_exchange_error(h->x)->message, "too old"));
        assert_non_null(strstr(pra_exchange_error(h->x)->message, "1 samples"));
        pra_exchange_stats stats = {.size = sizeof(stats)};
        assert_int_equal(pra_exchange_get_stats(h->x, &stats), PRA_OK);
        assert_int_equal(stats.rejected_samples, 1);
    }
    static char long_reason[100000];
    memset(long_reason, 'x', sizeof(long_reason));
    h->storage->reject = 1000;
    h->storage->reason = (pra_str){long_reason, sizeof(long_reason)};
    hosted_write(h, S("v"), ways[0]);
    check_answer(h, 400);
    assert_in_range(h->answer.len, 500, 1200);
    h->storage->reject = 1;
    h->storage->reason = (pra_str){NULL, 0};
    hosted_write(h, S("v"), ways[0]);
    check_answer(h, 400);
    /* a failure of the whole goes first */
    h->storage->code = PRA_ERR_RETRY;
    hosted_write(h, S("v"), ways[0]);
    check_answer(h, 503);
    assert_header(h->x, "Retry-After", "");
}

/* Series with labels that cannot be are left out and told of; the rest is stored. */
static void W32_bad_labels(void **state)
{
    struct hosted *h = *state;
    static const struct {
        const char *rule;
        pra_label labels[3];
        size_t count;
        int status;
    } cases[] = {
        {"unsorted is sorted", {{S("z"), S("1")}, {S("__name__"), S("x")}}, 2, 204},
        {"empty value dropped", {{S("__name__"), S("x")}, {S("a"), S("")}}, 2, 204},
        {"NUL is a character", {{S("__name__"), S("x")}, {S("a"), S("b\0c")}}, 2, 204},
        {"repeated", {{S("a"), S("1")}, {S("__name__"), S("x")}, {S("a"), S("2")}}, 3, 400},
        {"empty name", {{S("__name__"), S("x")}, {S(""), S("v")}}, 2, 400},
        {"not UTF-8", {{S("__name__"), S("x")}, {S("a"), S("\xff")}}, 2, 400},
        {"not UTF-8", {{S("__name__"), S("x")}, {S("\xc0\x80"), S("a")}}, 2, 400},
        {"no labels", {{S(""), S("")}}, 0, 400},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t series = h->storage->series;
        hosted_write_labels(h, cases[i].labels, cases[i].count, ways[i % 4]);
        if (pra_exchange_status(h->x) != cases[i].status)
            fail_msg("W-32 %s: %d", cases[i].rule, pra_exchange_status(h->x));
        check_answer(h, cases[i].status);
        assert_int_equal(h->storage->series - series, 1 + (cases[i].status == 204));
    }
}

/* ── Reads ── */

static void R05_R06_answers_in_order_of_the_queries(void **state)
{
    struct hosted *h = *state;
    for (size_t way = 0; way < 4; way++) {
        hosted_read(h, "cab", ways[way]);
        check_answer(h, 200);
        assert_header(h->x, "Content-Type", "application/x-protobuf");
        assert_header(h->x, "Content-Encoding", "snappy");
        hosted_expect_series(h, "cab");
        hosted_read(h, "", ways[way]);
        check_answer(h, 200);
        hosted_expect_series(h, "");
    }
}

static void R09_too_many_samples(void **state)
{
    (void)state;
    const pra_limits limits = {.size = sizeof(limits), .max_read_samples = 2};
    const pra_handler_opts opts = {.size = sizeof(opts), .limits = &limits};
    struct hosted *h = hosted_new(NULL, &opts);
    for (size_t way = 0; way < 4; way++)
        for (int careless = 0; careless < 2; careless++) { /* does not look at what add returns */
            h->storage->careless = careless;
            hosted_read(h, "ab", ways[way]);
            check_answer(h, 200);
            hosted_read(h, "abc", ways[way]);
            check_answer(h, 400);
            assert_int_equal(pra_exchange_error(h->x)->code, PRA_ERR_SAMPLE_LIMIT);
        }
    struct hosted_storage *storage = h->storage;
    hosted_free(h);
    hosted_storage_free(storage);
}

/* Each query on a thread of its own, the last one first. */
static void queries_on_several_threads(void **state)
{
    (void)state;
    struct hosted_threads threads = {0};
    pra_handler_opts opts = {.size = sizeof(opts), .executor = hosted_executor(&threads)};
    struct hosted *h = hosted_new(NULL, &opts);
    hosted_read(h, "hgfedcba", ways[0]);
    check_answer(h, 200);
    hosted_expect_series(h, "hgfedcba");
    assert_int_equal(threads.started, 8);
    /* of several failures the one of the first query is told */
    h->storage->fail_query = "hc";
    h->storage->code = PRA_ERR_REJECT;
    h->storage->message = "this one";
    hosted_read(h, "abcdefgh", ways[0]);
    check_answer(h, 400);
    assert_memory_equal(h->answer.ptr, "this one c\n", 11);
    h->storage->code = PRA_ERR_USER;
    hosted_read(h, "abh", ways[0]);
    check_answer(h, 500);
    assert_int_equal(h->ran, PRA_ERR_USER);
    h->storage->fail_query = NULL;
    h->storage->code = 0;
    threads.refuse = 1;
    hosted_read(h, "ab", ways[0]);
    check_answer(h, 503);
    threads.refuse = 0;
    hosted_read(h, "ab", ways[0]);
    check_answer(h, 200);
    struct hosted_storage *storage = h->storage;
    hosted_free(h);
    hosted_storage_free(storage);
}

/* ── Misuse from within ── */

static void callbacks_cannot_reenter(void **state)
{
    struct hosted *h = *state;
    h->storage->inside = h;
    hosted_write(h, S("v"), ways[0]);
    check_answer(h, 204);
    hosted_read(h, "v", ways[0]);
    check_answer(h, 200);
    assert_int_equal(h->storage->reentered, 2);
}

static void missing_entries_are_404(void **state)
{
    (void)state;
    pra_storage_vtbl nothing = {.size = sizeof(nothing)};
    const pra_storage storage = {&nothing, NULL};
    struct hosted h = {.storage = NULL};
    assert_int_equal(pra_handler_new(NULL, &storage, NULL, &h.handler, NULL), PRA_OK);
    assert_int_equal(pra_exchange_new(h.handler, NULL, &h.x), PRA_OK);
    hosted_write(&h, S("v"), ways[0]);
    check_answer(&h, 404);
    hosted_read(&h, "v", ways[0]);
    check_answer(&h, 404);
    pra_exchange_free(h.x);
    pra_handler_free(h.handler);
}

/* ── Memory ── */

/* A write and a read; whatever fails, the next request with memory again is served. */
static int whole_exchanges(struct failing_alloc *f, void *arg)
{
    const struct hosted_way *way = arg;
    struct hosted_threads threads = {.in_turn = 1};
    const pra_handler_opts opts = {.size = sizeof(opts), .executor = hosted_executor(&threads)};
    struct hosted_storage *storage = NULL;
    struct hosted *h = hosted_try_new(&f->alloc, way->pieces ? &opts : NULL, &storage);
    int rc = PRA_OK;
    for (int read = 0; read < 2 && h && rc == PRA_OK; read++) {
        if (read)
            hosted_read(h, "ab", *way);
        else
            hosted_write(h, S("v"), *way);
        int status = pra_exchange_status(h->x);
        assert_true(status == 503 || status == (read ? 200 : 204));
        rc = pra_exchange_error(h->x)->code;
        assert_int_equal(rc, status == 503 ? PRA_ERR_NOMEM : PRA_OK);
    }
    if (h && rc) {
        enum failing_mode mode = f->mode;
        f->mode = FAIL_NEVER;
        hosted_write(h, S("v"), *way);
        check_answer(h, 204);
        hosted_read(h, "ba", *way);
        check_answer(h, 200);
        hosted_expect_series(h, "ba");
        f->mode = mode;
    }
    rc = h ? rc : PRA_ERR_NOMEM;
    hosted_free(h);
    assert_int_equal(storage->destroyed, 1);
    hosted_storage_free(storage);
    return rc;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    for (size_t way = 0; way < 4; way++) {
        struct hosted_way arg = ways[way];
        const char *wrong = failing_alloc_loop(whole_exchanges, &arg);
        if (wrong)
            fail_msg("%s", wrong);
    }
}

static void warm_writes_allocate_nothing(void **state)
{
    (void)state;
    struct failing_alloc f;
    struct hosted_storage *storage = NULL;
    failing_alloc_init(&f);
    struct hosted *h = hosted_try_new(&f.alloc, NULL, &storage);
    hosted_write(h, S("v"), ways[0]);
    size_t calls = f.calls;
    hosted_write(h, S("w"), ways[0]);
    check_answer(h, 204);
    assert_int_equal(f.calls, calls);
    hosted_free(h);
    hosted_storage_free(storage);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(table_of_requests),
        TEST(every_row_leaves_the_exchange_usable),
        TEST(W08_body_over_the_limit_in_pieces),
        cmocka_unit_test(over_the_memory_budget),
        TEST(head_over_the_limit),
        TEST(calls_out_of_order_are_refused),
        TEST(table_of_outcomes),
        TEST(W22_partly_stored),
        TEST(W32_bad_labels),
        TEST(R05_R06_answers_in_order_of_the_queries),
        cmocka_unit_test(R09_too_many_samples),
        cmocka_unit_test(queries_on_several_threads),
        TEST(callbacks_cannot_reenter),
        cmocka_unit_test(missing_entries_are_404),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(warm_writes_allocate_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
