/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pra.h"
#include "support/events.h"
#include "support/failing_alloc.h"
#include "support/message_gen.h"
#include "support/oracle.h"
#include "support/text.h"

#define STR(s) ((pra_str){(s), sizeof(s) - 1})

static pra_read_request *new_request(void)
{
    pra_read_request *req;
    assert_int_equal(pra_read_request_new(NULL, &req), PRA_OK);
    return req;
}

static struct text events_of(const pra_read_request *req)
{
    struct text t = {0};
    text_bytes(&t, "", 0);
    events_read_request(&t, req);
    return t;
}

static struct text encoding_of(const pra_read_request *req)
{
    struct text t = {0};
    pra_buffer *out;
    assert_int_equal(pra_buffer_new(NULL, &out), PRA_OK);
    assert_int_equal(pra_read_request_encode(req, out, NULL), PRA_OK);
    text_bytes(&t, pra_buffer_data(out), pra_buffer_len(out));
    pra_buffer_free(out);
    return t;
}

/* A message in hexadecimal and what it decodes to, or the name of the error. */
struct row {
    const char *hex;
    const char *events;
};

static const struct row rows[] = {
    {"", ""},
    {"0a00", "query 0 0\n"},
    {"0a 1a 08e807 10d00f 1a0c 0802 12036a6f62 1a03612e2a 2204 0805 3801",
     "query 1000 2000\n  matcher 2 \"job\" \"a.*\"\n"
     "  hints step=5 start=0 end=0 range=1 by=0 func=\"\"\n"},
    {"0a 16 08ffffffffffffffffff01 1080808080808080808001", "query -1 -9223372036854775808\n"},
    /* a repeated hints message is merged into the one before */
    {"0a 18 22 0a 0801 120161 2a0178 3001 22 0a 1802 120162 2a0179 3000",
     "query 0 0\n  hints step=1 start=2 end=0 range=0 by=0 func=\"b\" \"x\" \"y\"\n"},
    {"0a 02 2200", "query 0 0\n  hints step=0 start=0 end=0 range=0 by=0 func=\"\"\n"},
    /* a bool is true if any of its 64 bits is set */
    {"0a 0d 22 0b 30 80808080808080808001", "query 0 0\n  hints step=0 start=0 end=0 range=0 "
                                            "by=1 func=\"\"\n"},
    /* accepted types: one by one, packed, unknown ones, cut to 32 bits */
    {"1001 1000", "accepts 1\naccepts 0\n"},
    {"1202 0100", "accepts 1\naccepts 0\n"},
    {"1200 10e707 1205 8180808010", "accepts 999\naccepts 1\n"},
    {"1201 81 01", "accepts 129\n"}, /* an element that runs over its packed field */
    /* unknown matcher types and fields are kept and skipped */
    {"0a 06 1a 04 0863 7801", "query 0 0\n  matcher 99 \"\" \"\"\n"},
    {"0a 06 7b 0801 7c 0807", "query 7 0\n"},
    {"0a 06 1a 04 1202 6100", "query 0 0\n  matcher 0 \"a\\x00\" \"\"\n"},
    {"0800", "proto"},             /* queries as a varint */
    {"0a 02 0a00", "proto"},       /* a timestamp as bytes */
    {"0a 04 1a 02 0a00", "proto"}, /* a matcher type as bytes */
    {"0a 04 22 02 1001", "proto"}, /* a function name as a varint */
    {"0a 05 1a", "proto"},
    {"0a 02 1a 05", "proto"},
    {"1201 81", "proto"},
    {"0000", "proto"},
};

static void messages_and_what_they_mean(void **state)
{
    pra_read_request *req = new_request();
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct text t = text_of_hex(rows[i].hex);
        pra_error err = {0};
        int rc = pra_read_request_decode(req, t.data, t.len, NULL, &err);
        struct text got = events_of(req);
        if (rc)
            text_printf(&got, "%s", pra_error_name(rc));
        assert_string_equal(got.data, rows[i].events);
        assert_int_equal(err.code, rc);
        text_free(&got);
        text_free(&t);
    }
    pra_read_request_free(req);
}

static void every_truncation_is_refused_or_whole(void **state)
{
    struct text t = text_of_hex(rows[4].hex);
    pra_read_request *req = new_request();
    (void)state;
    for (size_t len = 1; len < t.len; len++) {
        char *cut = malloc(len);
        pra_error err = {0};
        assert_non_null(cut);
        memcpy(cut, t.data, len);
        assert_int_equal(pra_read_request_decode(req, cut, len, NULL, &err), PRA_ERR_PROTO);
        assert_true(err.offset <= len);
        assert_int_equal(pra_read_request_query_count(req), 0);
        free(cut);
    }
    pra_read_request_free(req);
    text_free(&t);
}

/* The caller's bytes may go away. */
static void what_is_needed_is_copied(void **state)
{
    struct text t = text_of_hex(rows[2].hex);
    pra_read_request *req = new_request();
    (void)state;
    assert_int_equal(pra_read_request_decode(req, t.data, t.len, NULL, NULL), PRA_OK);
    memset(t.data, 0xFF, t.len);
    text_free(&t);
    struct text got = events_of(req);
    assert_string_equal(got.data, rows[2].events);
    text_free(&got);
    pra_read_request_free(req);
}

/* ---- building and encoding */

static pra_read_request *built(void)
{
    const pra_str grouping[] = {{"a", 1}, {"", 0}};
    const pra_read_hints hints = {.size = sizeof(hints),
                                  .present = 1,
                                  .by = 1,
                                  .step_ms = 1,
                                  .start_ms = 2,
                                  .end_ms = 3,
                                  .range_ms = 4,
                                  .func = {"rate", 4},
                                  .grouping = grouping,
                                  .grouping_count = 2};
    pra_read_request *req = new_request();
    assert_int_equal(pra_read_request_add_query(req, 1000, 2000), PRA_OK);
    assert_int_equal(pra_read_request_add_matcher(req, PRA_MATCH_NOT_REGEX, STR("job"), STR("x.*")),
                     PRA_OK);
    assert_int_equal(pra_read_request_set_hints(req, &hints), PRA_OK);
    assert_int_equal(pra_read_request_add_query(req, -1, 0), PRA_OK);
    assert_int_equal(pra_read_request_add_accepted(req, PRA_RESPONSE_STREAMED_XOR_CHUNKS), PRA_OK);
    assert_int_equal(pra_read_request_add_accepted(req, PRA_RESPONSE_SAMPLES), PRA_OK);
    return req;
}

static void a_built_request_is_written_field_by_field(void **state)
{
    pra_read_request *req = built();
    struct text got = encoding_of(req);
    struct text expected = text_of_hex("0a 2b 08e807 10d00f 1a 0c 0803 1203 6a6f62 1a03 782e2a"
                                       "22 15 0801 1204 72617465 1802 2003 2a01 61 2a00 3001 3804"
                                       "0a 0b 08ffffffffffffffffff01 12 02 0100");
    (void)state;
    assert_int_equal(got.len, expected.len);
    assert_memory_equal(got.data, expected.data, got.len);
    text_free(&got);
    text_free(&expected);
    pra_read_request_free(req);
}

static void pointers_stay_while_more_is_added(void **state)
{
    pra_read_request *req = new_request();
    (void)state;
    assert_int_equal(pra_read_request_add_query(req, 5, 6), PRA_OK);
    const pra_query *first = pra_read_request_query(req, 0);
    for (int64_t i = 0; i < 1000; i++) {
        assert_int_equal(pra_read_request_add_query(req, i, i), PRA_OK);
        assert_int_equal(pra_read_request_add_matcher(req, 0, STR("a"), STR("b")), PRA_OK);
    }
    assert_ptr_equal(pra_read_request_query(req, 0), first);
    assert_int_equal(pra_query_end_ms(first), 6);
    assert_int_equal(pra_query_matcher_count(pra_read_request_query(req, 1000)), 1);
    assert_null(pra_read_request_query(req, 1001));
    assert_null(pra_query_matcher(first, 0));
    pra_read_request_free(req);
}

static void random_messages_survive(void **state)
{
    struct message_gen g = {.random = 5, .groups = 1};
    pra_read_request *req = new_request(), *again = new_request();
    (void)state;
    for (int i = 0; i < 2000; i++) {
        struct text message = {0}, theirs = {0};
        gen_read_request(&g, &message);
        assert_int_equal(pra_read_request_decode(req, message.data, message.len, NULL, NULL),
                         PRA_OK);
        struct text encoded = encoding_of(req);
        assert_int_equal(pra_read_request_decode(again, encoded.data, encoded.len, NULL, NULL),
                         PRA_OK);
        text_bytes(&theirs, "", 0);
        assert_null(oracle_read_request(encoded.data, encoded.len, &theirs));
        struct text one = events_of(req), two = events_of(again);
        assert_string_equal(one.data, two.data);
        assert_string_equal(one.data, theirs.data);
        text_free(&one);
        text_free(&two);
        text_free(&theirs);
        text_free(&encoded);
        text_free(&message);
    }
    pra_read_request_free(req);
    pra_read_request_free(again);
}

static void calls_in_the_wrong_order_are_refused(void **state)
{
    const pra_read_hints broken = {.size = sizeof(broken), .grouping_count = 1};
    pra_read_request *req = new_request();
    (void)state;
    assert_int_equal(pra_read_request_add_matcher(req, 0, STR("a"), STR("b")), PRA_ERR_STATE);
    assert_int_equal(pra_read_request_add_query(req, 0, 0), PRA_OK);
    assert_int_equal(pra_read_request_add_matcher(req, 0, (pra_str){NULL, 1}, STR("b")),
                     PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_read_request_set_hints(req, &broken), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_read_request_set_hints(req, NULL), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_read_request_decode(req, "", 0, NULL, NULL), PRA_OK);
    assert_int_equal(pra_read_request_add_query(req, 0, 0), PRA_ERR_STATE);
    assert_int_equal(pra_read_request_add_accepted(req, 0), PRA_ERR_STATE);
    assert_int_equal(pra_read_request_decode(req, NULL, 1, NULL, NULL), PRA_ERR_INVALID_ARG);
    pra_read_request_reset(req);
    assert_int_equal(pra_read_request_add_query(req, 0, 0), PRA_OK);
    pra_read_request_free(req);
    pra_read_request_free(NULL);
}

/* ---- limits and memory */

struct limit_row {
    const char *hex;
    pra_limits limits;
    int rc;
    const char *said;
};

static void each_limit_names_itself(void **state)
{
    static const struct limit_row limit_rows[] = {
        {"0a00 0a00 0a00",
         {.max_queries = 2},
         PRA_ERR_QUERY_LIMIT,
         "max_queries (2; raise it with --limit.read-queries)"},
        {"0a021a00 0a041a001a00",
         {.max_matchers = 2},
         PRA_ERR_QUERY_LIMIT,
         "max_matchers (2; raise it with --limit.read-matchers)"},
        {"0a00 0a00", {.max_decoded_bytes = 3}, PRA_ERR_DECODED_TOO_LARGE, "--limit.decoded-size"},
        {"0a00 0a00", {.max_memory_bytes = 64}, PRA_ERR_MEMORY_BUDGET, "--limit.request-memory"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(limit_rows) / sizeof(limit_rows[0]); i++) {
        struct text t = text_of_hex(limit_rows[i].hex);
        pra_read_request *req = new_request();
        pra_limits limits = limit_rows[i].limits;
        pra_error err = {0};
        limits.size = sizeof(limits);
        assert_int_equal(pra_read_request_decode(req, t.data, t.len, &limits, &err),
                         limit_rows[i].rc);
        assert_int_equal(err.http_status, pra_http_status(limit_rows[i].rc));
        assert_non_null(strstr(err.message, limit_rows[i].said));
        assert_int_equal(pra_read_request_query_count(req), 0);
        assert_int_equal(pra_read_request_decode(req, t.data, t.len, NULL, &err), PRA_OK);
        pra_read_request_free(req);
        text_free(&t);
    }
}

static void bombs_stay_within_the_budget(void **state)
{
    enum { BUDGET = 4 << 20, COUNT = 1 << 20 };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct text body = {0}, t = {0};
        struct failing_alloc f;
        pra_read_request *req;
        pra_limits limits = {.size = sizeof(limits), .max_memory_bytes = BUDGET};
        for (size_t j = 0; j < COUNT; j++)
            text_bytes(&body, i ? "\0" : "\x2a\0", i ? 1 : 2);
        if (i == 0) /* query { hints { grouping… } }, lengths of four bytes: 2^21 and 2^21 + 5 */
            text_bytes(&t, "\x0a\x85\x80\x80\x01\x22\x80\x80\x80\x01", 10);
        else /* packed: 2^20 elements */
            text_bytes(&t, "\x12\x80\x80\x40", 4);
        text_append(&t, &body);
        failing_alloc_init(&f);
        assert_int_equal(pra_read_request_new(&f.alloc, &req), PRA_OK);
        assert_int_equal(pra_read_request_decode(req, t.data, t.len, &limits, NULL),
                         PRA_ERR_MEMORY_BUDGET);
        assert_true(f.peak < BUDGET + (1 << 20)); /* a chunk may not be full */
        pra_read_request_free(req);
        assert_int_equal(f.live, 0);
        text_free(&body);
        text_free(&t);
    }
}

static int decode_build_encode(struct failing_alloc *f, void *arg)
{
    const struct text *block = arg;
    pra_read_request *req = NULL;
    pra_buffer *out = NULL;
    int rc = pra_read_request_new(&f->alloc, &req);
    if (rc)
        return rc;
    rc = pra_read_request_decode_snappy(req, block->data, block->len, NULL, NULL);
    if (rc == PRA_OK)
        rc = pra_buffer_new(&f->alloc, &out);
    if (rc == PRA_OK)
        rc = pra_read_request_encode(req, out, NULL);
    pra_read_request_reset(req);
    for (int i = 0; rc == PRA_OK && i < 100; i++) {
        rc = pra_read_request_add_query(req, i, i);
        if (rc == PRA_OK)
            rc = pra_read_request_add_matcher(req, i, STR("name"), STR("value"));
    }
    pra_buffer_free(out);
    pra_read_request_free(req);
    return rc;
}

static void running_out_of_memory_leaves_nothing(void **state)
{
    struct message_gen g = {.random = 77, .groups = 0};
    struct text message = {0}, block = {0};
    pra_buffer *out;
    (void)state;
    for (int i = 0; i < 30; i++)
        gen_read_request(&g, &message);
    assert_int_equal(pra_buffer_new(NULL, &out), PRA_OK);
    assert_int_equal(pra_snappy_compress(message.data, message.len, out, NULL), PRA_OK);
    text_bytes(&block, pra_buffer_data(out), pra_buffer_len(out));
    const char *wrong = failing_alloc_loop(decode_build_encode, &block);
    if (wrong)
        fail_msg("%s", wrong);
    pra_buffer_free(out);
    text_free(&block);
    text_free(&message);
}

static void a_warm_handle_does_not_call_the_allocator(void **state)
{
    struct text t = text_of_hex(rows[2].hex);
    struct failing_alloc f;
    pra_read_request *req;
    (void)state;
    failing_alloc_init(&f);
    assert_int_equal(pra_read_request_new(&f.alloc, &req), PRA_OK);
    assert_int_equal(pra_read_request_decode(req, t.data, t.len, NULL, NULL), PRA_OK);
    size_t calls = f.calls + f.frees;
    for (int i = 0; i < 5; i++)
        assert_int_equal(pra_read_request_decode(req, t.data, t.len, NULL, NULL), PRA_OK);
    assert_int_equal(f.calls + f.frees, calls);
    pra_read_request_free(req);
    text_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_and_what_they_mean),
        cmocka_unit_test(every_truncation_is_refused_or_whole),
        cmocka_unit_test(what_is_needed_is_copied),
        cmocka_unit_test(a_built_request_is_written_field_by_field),
        cmocka_unit_test(pointers_stay_while_more_is_added),
        cmocka_unit_test(random_messages_survive),
        cmocka_unit_test(calls_in_the_wrong_order_are_refused),
        cmocka_unit_test(each_limit_names_itself),
        cmocka_unit_test(bombs_stay_within_the_budget),
        cmocka_unit_test(running_out_of_memory_leaves_nothing),
        cmocka_unit_test(a_warm_handle_does_not_call_the_allocator),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
