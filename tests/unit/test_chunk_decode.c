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
#include "support/golden_chunks.h"
#include "support/text.h"

/* A request with one series that has no labels. */
static pra_write_request *one_series(void)
{
    pra_write_request *req;
    assert_int_equal(pra_write_request_new(NULL, &req), PRA_OK);
    assert_int_equal(pra_write_request_add_series(req, NULL, 0), PRA_OK);
    return req;
}

static struct text events_of(const pra_write_request *req)
{
    pra_columns c = {.size = sizeof(c)};
    struct text t = {0};
    assert_int_equal(pra_write_request_columns(req, &c), PRA_OK);
    events_columns(&t, &c);
    return t;
}

/* ---- what Prometheus wrote */

static void check_decode(void *ctx, const struct golden_chunk *g)
{
    (void)ctx;
    pra_write_request *req = one_series();
    pra_error err = {0};
    if (pra_chunk_decode(g->type, g->chunk.data, g->chunk.len, req, NULL, &err))
        fail_msg("%s: %s", g->name, err.message);
    struct text expected = events_of(g->content), found = events_of(req);
    if (strcmp(expected.data, found.data) != 0)
        fail_msg("%s:\n%s\ninstead of\n%s", g->name, found.data, expected.data);
    text_free(&expected);
    text_free(&found);
    pra_write_request_free(req);
}

static void test_decodes_what_prometheus_wrote(void **state)
{
    (void)state;
    assert_true(golden_chunks("xor.txt", check_decode, NULL) > 90);
    assert_true(golden_chunks("xor2.txt", check_decode, NULL) > 120);
    assert_true(golden_chunks("histogram.txt", check_decode, NULL) > 30);
}

/* ---- damaged chunks */

/* Whatever is cut off: an error, or, where only padding is missing, the same. */
static void check_truncated(void *ctx, const struct golden_chunk *g)
{
    (void)ctx;
    pra_write_request *req = one_series();
    int64_t t = 7;
    double v = 8;
    assert_int_equal(pra_write_request_add_samples(req, &t, &v, NULL, 1), PRA_OK);
    struct text before = events_of(req);
    for (size_t len = 0; len < g->chunk.len; len++) {
        pra_error err = {0};
        char *exact = malloc(len + 1); /* so that a read behind the end is seen */
        assert_non_null(exact);
        memcpy(exact, g->chunk.data, len);
        if (pra_chunk_decode(g->type, len ? exact : NULL, len, req, NULL, &err) != PRA_ERR_PROTO)
            fail_msg("%s: %zu bytes are accepted", g->name, len);
        assert_string_equal(strstr(err.message, "malformed chunk") ? "" : err.message, "");
        free(exact);
        struct text after = events_of(req);
        assert_string_equal(before.data, after.data);
        text_free(&after);
    }
    text_free(&before);
    pra_write_request_free(req);
}

static void test_refuses_truncated_chunks(void **state)
{
    (void)state;
    golden_chunks("xor.txt", check_truncated, NULL);
    golden_chunks("histogram.txt", check_truncated, NULL);
}

/* Every bit of every chunk turned over: any result, but nothing beyond memory or defined. */
static void check_flipped(void *ctx, const struct golden_chunk *g)
{
    size_t *accepted = ctx;
    pra_limits limits = {.size = sizeof(limits), .max_memory_bytes = 1 << 20};
    for (size_t bit = 0; bit < g->chunk.len * 8 && bit < 2000; bit++) {
        pra_write_request *req = one_series();
        g->chunk.data[bit / 8] ^= (char)(1 << bit % 8);
        *accepted +=
            pra_chunk_decode(g->type, g->chunk.data, g->chunk.len, req, &limits, NULL) == PRA_OK;
        g->chunk.data[bit / 8] ^= (char)(1 << bit % 8);
        pra_write_request_free(req);
    }
}

static void test_survives_flipped_bits(void **state)
{
    (void)state;
    size_t accepted = 0;
    golden_chunks("xor.txt", check_flipped, &accepted);
    golden_chunks("xor2.txt", check_flipped, &accepted);
    golden_chunks("histogram.txt", check_flipped, &accepted);
    assert_true(accepted > 1000);
}

static const struct {
    const char *name;
    int32_t type;
    const char *hex;
    int code;
} rows[] = {
    {"nothing", 1, "", PRA_ERR_PROTO},
    {"half a head", 1, "00", PRA_ERR_PROTO},
    {"no samples", 1, "0000", PRA_OK},
    {"no samples, but bytes", 1, "0000 ff", PRA_OK},
    {"one sample", 1, "0001 d00f 3ff0000000000000", PRA_OK},
    {"bytes behind the samples", 1, "0001 d00f 3ff0000000000000 ffff", PRA_OK},
    {"the count lies a little", 1, "0002 d00f 3ff0000000000000", PRA_ERR_PROTO},
    {"the count lies much", 1, "ffff d00f 3ff0000000000000", PRA_ERR_PROTO},
    {"the count lies, and zeros follow", 1, "ffff d00f 3ff0000000000000 00 00000000000000",
     PRA_ERR_PROTO},
    {"a first time of 64 bits", 1, "0001 ffffffffffffffffff01 3ff0000000000000", PRA_OK},
    {"a first time of 65 bits", 1, "0001 ffffffffffffffffff02 3ff0000000000000", PRA_ERR_PROTO},
    {"a first time without end", 1, "0001 ffffffffffffffffffff01 3ff0000000000000", PRA_ERR_PROTO},
    /* second sample: delta 0, then 11, 5 bits leading, 6 bits count */
    {"a new window", 1, "0002 d00f 3ff0000000000000 00 f800 0000000000", PRA_ERR_PROTO},
    {"leading 31 and 33 bits", 1, "0002 d00f 3ff0000000000000 00 ff08 000000000000", PRA_OK},
    {"leading 31 and 34 bits", 1, "0002 d00f 3ff0000000000000 00 ff10 000000000000", PRA_ERR_PROTO},
    {"leading 31 and 64 bits", 1, "0002 d00f 3ff0000000000000 00 fe00 0000000000000000",
     PRA_ERR_PROTO},
    {"leading 0 and 64 bits", 1, "0002 d00f 3ff0000000000000 00 c000 0000000000000000", PRA_OK},
    {"leading 1 and 64 bits", 1, "0002 d00f 3ff0000000000000 00 c200 0000000000000000",
     PRA_ERR_PROTO},
    {"a window used before there is one", 1, "0002 d00f 3ff0000000000000 00 8000000000000000 00",
     PRA_ERR_PROTO},
    {"XOR2 without its header", 4, "0001", PRA_ERR_PROTO},
    {"XOR2, one sample", 4, "0001 00 d00f 3ff0000000000000", PRA_OK},
    {"XOR2, a start that is not there", 4, "0001 80 d00f 3ff0000000000000", PRA_ERR_PROTO},
    {"XOR2, a start", 4, "0001 80 d00f 3ff0000000000000 02", PRA_OK},
    {"XOR2, a window used before there is one", 4,
     "0002 00 d00f 3ff0000000000000 00 8000000000000000 00", PRA_ERR_PROTO},
    {"no histograms", 2, "0000 00", PRA_OK},
    {"no histograms, no flags", 2, "0000", PRA_OK},
    {"a histogram without flags", 2, "0001", PRA_ERR_PROTO},
    /* threshold 0, schema 0, no spans, time, count, zero count, sum */
    {"an empty histogram", 2, "0001 00 00 00 0000000000000000 00", PRA_OK},
    {"an empty histogram of floats", 3,
     "0001 00 00 00 000000000000000000000000000000000000000000"
     "000000 000000",
     PRA_OK},
    {"floats cut off", 3, "0001 00 00 00 0000000000000000 00", PRA_ERR_PROTO},
    {"schema 53", 2, "0001 00 00 e1a8 0000000000000000000000", PRA_ERR_PROTO},
    /* the number of spans: eight ones, then 64 bits */
    {"2^64 - 1 spans", 2, "0001 00 00 7f ffffffffffffffffff ffff", PRA_ERR_PROTO},
    {"a span of 2^32 buckets", 2, "0001 00 00 47fc 0000000400000000 000000", PRA_ERR_PROTO},
    {"a span of 2^31 buckets", 2, "0001 00 00 47fc 0000000200000000 000000", PRA_ERR_PROTO},
    {"unknown type", 0, "0001 d00f 3ff0000000000000", PRA_ERR_NOT_SUPPORTED},
    {"type 5", 5, "0001 d00f 3ff0000000000000", PRA_ERR_NOT_SUPPORTED},
    {"type 6", 6, "0001 d00f 3ff0000000000000", PRA_ERR_NOT_SUPPORTED},
    {"type 7", 7, "0001 d00f 3ff0000000000000", PRA_ERR_NOT_SUPPORTED},
    {"type -1", -1, "0001 d00f 3ff0000000000000", PRA_ERR_NOT_SUPPORTED},
};

static void test_malformed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct text chunk = text_of_hex(rows[i].hex);
        pra_write_request *req = one_series();
        pra_error err = {0};
        int rc = pra_chunk_decode(rows[i].type, chunk.data, chunk.len, req, NULL, &err);
        if (rc != rows[i].code)
            fail_msg("%s: %d (%s)", rows[i].name, rc, err.message);
        assert_int_equal(err.code, rc);
        pra_write_request_free(req);
        text_free(&chunk);
    }
}

/* A few thousand bytes that would become more than any budget: many spans, repeated by each
 * histogram, of which one takes half a byte. */
static void test_bomb(void **state)
{
    (void)state;
    static uint8_t chunk[40000];
    memset(chunk, 0, sizeof(chunk));
    /* 60,000 histograms; zero threshold, schema: 0 bytes and a bit; 32,767 spans (111110 and 18
     * bits) of two bits each */
    const uint8_t head[] = {0xEA, 0x60, 0x00, 0x00, 0x7C, 0x3F, 0xFF, 0x80};
    memcpy(chunk, head, sizeof(head));
    struct failing_alloc f;
    pra_write_request *req;
    pra_error err = {0};
    pra_limits limits = {.size = sizeof(limits), .max_memory_bytes = 8 << 20};
    failing_alloc_init(&f);
    assert_int_equal(pra_write_request_new(&f.alloc, &req), PRA_OK);
    assert_int_equal(pra_write_request_add_series(req, NULL, 0), PRA_OK);
    assert_int_equal(
        pra_chunk_decode(PRA_CHUNK_HISTOGRAM, chunk, sizeof(chunk), req, &limits, &err),
        PRA_ERR_MEMORY_BUDGET);
    assert_true(f.peak < 20 << 20);
    /* and it may still be added to */
    assert_int_equal(pra_chunk_decode(PRA_CHUNK_XOR, "\0", 2, req, &limits, &err), PRA_OK);
    pra_write_request_free(req);
}

static void test_wrong_calls(void **state)
{
    (void)state;
    pra_write_request *req;
    pra_limits limits = {.size = 1};
    assert_int_equal(pra_chunk_decode(1, "\0", 2, NULL, NULL, NULL), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_write_request_new(NULL, &req), PRA_OK);
    assert_int_equal(pra_chunk_decode(1, "\0", 2, req, NULL, NULL), PRA_ERR_STATE);
    assert_int_equal(pra_write_request_add_series(req, NULL, 0), PRA_OK);
    assert_int_equal(pra_chunk_decode(1, NULL, 2, req, NULL, NULL), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_chunk_decode(1, "\0", 2, req, &limits, NULL), PRA_ERR_INVALID_ARG);
    pra_write_request_free(req);
}

/* ---- memory */

static int decode_all(struct failing_alloc *f, const struct golden_chunk *g)
{
    pra_write_request *req;
    int rc = pra_write_request_new(&f->alloc, &req);
    if (rc)
        return rc;
    rc = pra_write_request_add_series(req, NULL, 0);
    for (int i = 0; rc == PRA_OK && i < 2; i++)
        rc = pra_chunk_decode(g->type, g->chunk.data, g->chunk.len, req, NULL, NULL);
    pra_write_request_free(req);
    return rc;
}

static int run(struct failing_alloc *f, void *arg)
{
    return decode_all(f, arg);
}

static void check_oom(void *ctx, const struct golden_chunk *g)
{
    (void)ctx;
    const char *wrong = failing_alloc_loop(run, (void *)(uintptr_t)g);
    if (wrong)
        fail_msg("%s: %s", g->name, wrong);
}

static void test_oom(void **state)
{
    (void)state;
    golden_chunks("xor2.txt", check_oom, NULL);
    golden_chunks("histogram.txt", check_oom, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decodes_what_prometheus_wrote),
        cmocka_unit_test(test_refuses_truncated_chunks),
        cmocka_unit_test(test_survives_flipped_bits),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_bomb),
        cmocka_unit_test(test_wrong_calls),
        cmocka_unit_test(test_oom),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
