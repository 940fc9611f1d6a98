/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/text.h"
#include "wire/bits.h"

/* ---- runs of bits at any place */

struct run {
    uint64_t bits;
    unsigned count;
};

/* The same, bit by bit. */
static size_t put_slowly(uint8_t *out, size_t pos, struct run run)
{
    for (unsigned i = run.count; i-- > 0; pos++)
        out[pos / 8] |= (uint8_t)((run.bits >> i & 1) << (7 - pos % 8));
    return pos;
}

static void test_any_runs(void **state)
{
    (void)state;
    static struct run runs[300];
    static uint8_t fast[300 * 8 + PRA__BITS_OVERRUN], slow[300 * 8];
    uint64_t random = 1;
    for (int round = 0; round < 200; round++) {
        struct pra__bit_writer w = {.p = fast};
        struct pra__bit_reader r;
        size_t pos = 0;
        memset(slow, 0, sizeof(slow));
        for (size_t i = 0; i < 300; i++) {
            runs[i].count = (unsigned)random_below(&random, 64) + 1;
            runs[i].bits = random_next(&random) >> (64 - runs[i].count);
            pra__put_many_bits(&w, runs[i].bits, runs[i].count);
            pos = put_slowly(slow, pos, runs[i]);
            assert_int_equal(pra__bits_len(&w, fast), (pos + 7) / 8);
        }
        assert_memory_equal(fast, slow, (pos + 7) / 8);
        pra__bit_reader_init(&r, fast, (pos + 7) / 8);
        for (size_t i = 0; i < 300; i++)
            assert_int_equal(pra__get_many_bits(&r, runs[i].count), runs[i].bits);
        assert_null(r.why);
        assert_true(pra__bits_left(&r) < 8);
    }
}

static void test_end(void **state)
{
    (void)state;
    for (size_t len = 0; len <= 2; len++)
        for (unsigned count = 1; count <= 64; count++) {
            volatile size_t size = len + !len; /* gcc would count, and warn of reads not made */
            uint8_t *bytes = malloc(size);     /* no byte more: reading one is found */
            struct pra__bit_reader r;
            assert_non_null(bytes);
            memset(bytes, 0xFF, len);
            pra__bit_reader_init(&r, bytes, len);
            uint64_t v = pra__get_many_bits(&r, count);
            assert_int_equal(r.why == NULL, count <= 8 * len);
            if (count <= 8 * len)
                assert_int_equal(v, (UINT64_C(1) << count) - 1);
            else
                assert_int_equal(pra__bits_left(&r), 0);
            free(bytes);
        }
}

static void test_ones(void **state)
{
    (void)state;
    for (unsigned ones = 0; ones <= 10; ones++)
        for (unsigned most = 1; most <= 8; most++) {
            uint8_t bytes[2] = {0, 0};
            struct pra__bit_reader r;
            for (unsigned i = 0; i < ones; i++)
                bytes[i / 8] |= (uint8_t)(0x80 >> i % 8);
            pra__bit_reader_init(&r, bytes, 2);
            unsigned expected = ones < most ? ones : most;
            assert_int_equal(pra__get_ones(&r, most), expected);
            assert_int_equal(r.pos, ones < most ? ones + 1 : most);
        }
    /* ones up to the end, and no zero behind them */
    struct pra__bit_reader r;
    pra__bit_reader_init(&r, (const uint8_t *)"\xFF", 1);
    assert_int_equal(pra__get_ones(&r, 8), 8);
    assert_null(r.why);
    pra__bit_reader_init(&r, (const uint8_t *)"\xFF", 1);
    pra__get_bits(&r, 4);
    assert_int_equal(pra__get_ones(&r, 5), 0);
    assert_non_null(r.why);
}

/* ---- varbit integers: both ends of every width, and the first numbers beyond */

static const struct {
    int64_t value;
    const char *hex; /* filled up with zeros */
} integers[] = {
    {0, "00"},
    {1, "88"},
    {-1, "b8"},
    {4, "a0"},
    {-3, "a8"},
    {5, "c280"},
    {-4, "de00"},
    {32, "d000"},
    {-31, "d080"},
    {33, "e108"},
    {-32, "ef00"},
    {256, "e800"},
    {-255, "e808"},
    {257, "f08080"},
    {-256, "f78000"},
    {2048, "f40000"},
    {-2047, "f40080"},
    {2049, "f80801"},
    {-2048, "fbf800"},
    {131072, "fa0000"},
    {-131071, "fa0001"},
    {131073, "fc020001"},
    {-131072, "fdfe0000"},
    {16777216, "fd000000"},
    {-16777215, "fd000001"},
    {16777217, "fe00000001000001"},
    {-16777216, "feffffffff000000"},
    {INT64_C(36028797018963968), "fe80000000000000"},
    {-INT64_C(36028797018963967), "fe80000000000001"},
    {INT64_C(36028797018963969), "ff0080000000000001"},
    {-INT64_C(36028797018963968), "ffff80000000000000"},
    {INT64_MAX, "ff7fffffffffffffff"},
    {INT64_MIN, "ff8000000000000000"},
};

static const struct {
    uint64_t value;
    const char *hex;
} naturals[] = {
    {0, "00"},
    {1, "88"},
    {7, "b8"},
    {8, "c400"},
    {63, "df80"},
    {64, "e200"},
    {511, "eff8"},
    {512, "f10000"},
    {4095, "f7ff80"},
    {4096, "f81000"},
    {262143, "fbffff"},
    {262144, "fc040000"},
    {33554431, "fdffffff"},
    {33554432, "fe00000002000000"},
    {UINT64_C(72057594037927935), "feffffffffffffff"},
    {UINT64_C(72057594037927936), "ff0100000000000000"},
    {UINT64_MAX, "ffffffffffffffffff"},
};

static void check_bytes(const struct pra__bit_writer *w, const uint8_t *start, const char *hex)
{
    struct text expected = text_of_hex(hex);
    if (pra__bits_len(w, start) != expected.len || memcmp(start, expected.data, expected.len) != 0)
        fail_msg("not %s", hex);
    text_free(&expected);
}

static void test_integers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(integers) / sizeof(integers[0]); i++) {
        uint8_t out[16 + PRA__BITS_OVERRUN] = {0};
        struct pra__bit_writer w = {.p = out};
        struct pra__bit_reader r;
        pra__put_varbit(&w, integers[i].value);
        check_bytes(&w, out, integers[i].hex);
        pra__bit_reader_init(&r, out, pra__bits_len(&w, out));
        assert_true(pra__get_varbit(&r) == integers[i].value);
        assert_null(r.why);
    }
}

static void test_naturals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(naturals) / sizeof(naturals[0]); i++) {
        uint8_t out[16 + PRA__BITS_OVERRUN] = {0};
        struct pra__bit_writer w = {.p = out};
        struct pra__bit_reader r;
        pra__put_varbit_unsigned(&w, naturals[i].value);
        check_bytes(&w, out, naturals[i].hex);
        pra__bit_reader_init(&r, out, pra__bits_len(&w, out));
        assert_true(pra__get_varbit_unsigned(&r) == naturals[i].value);
        assert_null(r.why);
    }
}

/* ---- the XOR of values, at any place in a byte */

static void test_xor(void **state)
{
    (void)state;
    static uint8_t out[1000 * 10 + PRA__BITS_OVERRUN];
    static uint64_t values[1000];
    uint64_t random = 5;
    for (int round = 0; round < 100; round++) {
        struct pra__bit_writer w = {.p = out};
        struct pra__xor x = {.leading = PRA__NO_WINDOW}, y = x;
        struct pra__bit_reader r;
        for (size_t i = 0; i < 1000; i++) {
            unsigned low = (unsigned)random_below(&random, 64);
            unsigned high = (unsigned)random_below(&random, 64);
            values[i] =
                (i ? values[i - 1] : 0) ^ random_next(&random) >> low << low << high >> high;
            pra__put_xor(&w, &x, values[i]);
        }
        pra__bit_reader_init(&r, out, pra__bits_len(&w, out));
        for (size_t i = 0; i < 1000; i++) {
            pra__get_xor(&r, &y);
            assert_true(y.bits == values[i]);
        }
        assert_null(r.why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_runs), cmocka_unit_test(test_end),
        cmocka_unit_test(test_ones),     cmocka_unit_test(test_integers),
        cmocka_unit_test(test_naturals), cmocka_unit_test(test_xor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
