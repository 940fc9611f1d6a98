/* SPDX-License-Identifier: Apache-2.0 */
/* What the handler answers to whatever a peer sends, rule by rule (W-…, R-… as in the README):
 * every row driven and stepped, its body whole and byte by byte. */
#include "handler_fixture.h"
#include "support/failing_alloc.h"

#define TYPE(value) "content-type: " value "\n"
#define SNAPPY "content-encoding: snappy\n"
#define V1 TYPE("application/x-protobuf") SNAPPY
#define V2 TYPE("application/x-protobuf;proto=io.prometheus.write.v2.Request") SNAPPY

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
     EMPTY_MESSAGE, 204, 0},
    {"W-25 v2 corrupt", "POST", W, V2, NOT_SNAPPY, 400, PRA_ERR_SNAPPY},
    {"W-25 v2 proto", "POST", W, V2, CUT_SHORT, 400, PRA_ERR_PROTO},
    {"W-25 v2 size", "POST", W, V2 "content-length: 9999\n", EMPTY_MESSAGE, 413,
     PRA_ERR_BODY_TOO_LARGE},
    {"W-12 v1 bytes sent as v2 are an empty message", "POST", W, V2, METADATA_ONLY, 204, 0},
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
     204, 0},
    {"W-05 space", "POST", W, TYPE("application/x-protobuf \t; \t proto=prometheus.WriteRequest "),
     EMPTY_MESSAGE, 204, 0},
    {"W-05 quotes", "POST", W, TYPE("application/x-protobuf; proto=\"prometheus.WriteRequest\""),
     EMPTY_MESSAGE, 204, 0},
    {"W-05 quoted pair", "POST", W,
     TYPE("application/x-protobuf; proto=\"prometheus\\.WriteReques\\t\""), EMPTY_MESSAGE, 204, 0},
    {"W-05 quotes", "POST", W,
     TYPE("application/x-protobuf; proto=\"io.prometheus.write.v2.Request\""), EMPTY_MESSAGE, 204,
     0},
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
    {"R-02 streamed only", "POST", R, V1, S("\x02\x04\x10\x01"), 200, 0},
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

/* What an idle exchange holds is bounded by its parts (columns, queries, sinks, head, body, answer
 * before and after compression, list of series), not by the number of queries or the size of the
 * last request. */
static void an_idle_exchange_keeps_little(void **state)
{
    (void)state;
    enum { RETAIN = 8 << 10, PARTS = 8, QUERIES = 100, BODY = 100000 };
    static char names[QUERIES + 1], value[BODY];
    struct failing_alloc memory;
    const pra_limits limits = {.size = sizeof(limits), .retain_bytes = RETAIN};
    const pra_handler_opts opts = {.size = sizeof(opts), .limits = &limits};
    failing_alloc_init(&memory);
    struct hosted *h = hosted_new(&memory.alloc, &opts);
    memset(names, 'a', QUERIES);
    memset(value, 'x', BODY);
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        hosted_read(h, "a", ways[i]);
        check_answer(h, 200);
        size_t small = memory.live;
        hosted_read(h, names, ways[i]);
        check_answer(h, 200);
        assert_in_range(memory.live, 1, small + PARTS * RETAIN);
        hosted_expect_series(h, names);
        hosted_write(h, (pra_str){value, BODY}, ways[i]);
        check_answer(h, 204);
        assert_in_range(memory.live, 1, small + PARTS * RETAIN);
    }
    struct hosted_storage *storage = h->storage;
    hosted_free(h);
    hosted_storage_free(storage);
    assert_int_equal(memory.live, 0);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(table_of_requests),
        TEST(every_row_leaves_the_exchange_usable),
        TEST(W08_body_over_the_limit_in_pieces),
        cmocka_unit_test(over_the_memory_budget),
        cmocka_unit_test(an_idle_exchange_keeps_little),
        TEST(head_over_the_limit),
        TEST(calls_out_of_order_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
