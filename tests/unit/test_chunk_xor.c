/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "message/chunk_xor.h"
#include "pra.h"
#include "support/golden_chunks.h"
#include "support/text.h"

/* What Prometheus wrote is what is written here, whatever is before it in the buffer. */
static void check_encode(void *ctx, const struct golden_chunk *g)
{
    (void)ctx;
    pra_columns c = {.size = sizeof(c)};
    pra_buffer *out;
    assert_int_equal(pra_write_request_columns(g->content, &c), PRA_OK);
    assert_int_equal(pra_buffer_new(NULL, &out), PRA_OK);
    assert_int_equal(pra_buffer_append(out, "before", 6), PRA_OK);
    assert_int_equal(pra_chunk_encode_samples(c.timestamps_ms, c.values, c.sample_count, out),
                     PRA_OK);
    const char *bytes = pra_buffer_data(out);
    assert_memory_equal(bytes, "before", 6);
    if (pra_buffer_len(out) != g->chunk.len + 6 ||
        memcmp(bytes + 6, g->chunk.data, g->chunk.len) != 0)
        fail_msg("%s is encoded otherwise", g->name);
    pra_buffer_free(out);
}

static void test_encodes_as_prometheus(void **state)
{
    (void)state;
    assert_true(golden_chunks("xor.txt", check_encode, NULL) > 60);
}

static void test_one_sample(void **state)
{
    (void)state;
    const int64_t t = 1000;
    const double v = 1;
    pra_buffer *out;
    assert_int_equal(pra_buffer_new(NULL, &out), PRA_OK);
    assert_int_equal(pra_chunk_encode_samples(&t, &v, 1, out), PRA_OK);
    struct text expected = text_of_hex("0001 d00f 3ff0000000000000");
    assert_int_equal(pra_buffer_len(out), expected.len);
    assert_memory_equal(pra_buffer_data(out), expected.data, expected.len);
    text_free(&expected);
    pra_buffer_free(out);
}

static void test_refuses_wrong_counts(void **state)
{
    (void)state;
    const int64_t t[1] = {0};
    const double v[1] = {0};
    pra_buffer *out;
    assert_int_equal(pra_buffer_new(NULL, &out), PRA_OK);
    assert_int_equal(pra_chunk_encode_samples(t, v, 0, out), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_chunk_encode_samples(t, v, 65536, out), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_chunk_encode_samples(NULL, v, 1, out), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_chunk_encode_samples(t, NULL, 1, out), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_chunk_encode_samples(t, v, 1, NULL), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_buffer_len(out), 0);
    pra_buffer_free(out);
}

/* ---- chunks of a series: batches of any size give the same chunks */

enum { SAMPLES = 5000 };

struct series {
    int64_t timestamps_ms[SAMPLES];
    double values[SAMPLES];
};

/* By kind: easy ones, of which 120 go into a chunk, and ones that fill its bytes first. */
static void fill(struct series *s, int kind, uint64_t *random)
{
    int64_t t = 0;
    for (size_t i = 0; i < SAMPLES; i++) {
        uint64_t bits = kind == 2 ? random_next(random) : kind == 1 ? i << 40 : 0;
        t += kind == 2 ? (int64_t)(random_next(random) >> 20) : 15000;
        s->timestamps_ms[i] = t;
        memcpy(&s->values[i], &bits, 8);
    }
}

static void check_chunk(const struct series *s, size_t first, struct pra__xor_chunk *chunk)
{
    size_t count = pra__xor_chunk_count(chunk);
    size_t len = pra__xor_chunk_end(chunk);
    pra_buffer *whole;
    assert_int_equal(chunk->min_ms, s->timestamps_ms[first]);
    assert_int_equal(chunk->max_ms, s->timestamps_ms[first + count - 1]);
    assert_true(len <= PRA__XOR_CHUNK_BYTES + 1);
    assert_true(count == 120 || len > PRA__XOR_CHUNK_BYTES - 19 || first + count == SAMPLES);
    assert_int_equal(pra_buffer_new(NULL, &whole), PRA_OK);
    assert_int_equal(
        pra_chunk_encode_samples(s->timestamps_ms + first, s->values + first, count, whole),
        PRA_OK);
    assert_int_equal(pra_buffer_len(whole), len);
    assert_memory_equal(pra_buffer_data(whole), chunk->data, len);
    pra_buffer_free(whole);
}

static void check_series(const struct series *s, uint64_t *random, size_t most)
{
    struct pra__xor_chunk chunk;
    size_t first = 0, at = 0;
    pra__xor_chunk_begin(&chunk);
    while (at < SAMPLES) {
        size_t batch = random_below(random, most) + 1;
        batch = batch < SAMPLES - at ? batch : SAMPLES - at;
        size_t taken = pra__xor_chunk_append(&chunk, s->timestamps_ms + at, s->values + at, batch);
        at += taken;
        if (taken == batch && at < SAMPLES)
            continue;
        check_chunk(s, first, &chunk);
        first = at;
        pra__xor_chunk_begin(&chunk);
    }
    assert_int_equal(first, SAMPLES);
}

static void test_cuts_series(void **state)
{
    (void)state;
    static struct series s;
    uint64_t random = 1;
    for (int kind = 0; kind < 3; kind++) {
        fill(&s, kind, &random);
        check_series(&s, &random, 1);
        check_series(&s, &random, 7);
        check_series(&s, &random, 300);
        check_series(&s, &random, SAMPLES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encodes_as_prometheus),
        cmocka_unit_test(test_one_sample),
        cmocka_unit_test(test_refuses_wrong_counts),
        cmocka_unit_test(test_cuts_series),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
