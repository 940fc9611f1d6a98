/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/str.h"

#define S(literal) ((pra_str){(literal), sizeof(literal) - 1})

static void compare_orders_bytes_as_unsigned(void **state)
{
    (void)state;
    const pra_str sorted[] = {{NULL, 0}, S("\0"), S("a"), S("a\0"), S("aa"), S("b"), S("\xc3\xa9")};
    size_t n = sizeof(sorted) / sizeof(sorted[0]);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            int order = pra__str_compare(sorted[i], sorted[j]);
            assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
            assert_int_equal(pra__str_equal(sorted[i], sorted[j]), i == j);
        }
    assert_true(pra__str_starts_with(S("abc"), S("ab")));
    assert_true(pra__str_starts_with((pra_str){NULL, 0}, (pra_str){NULL, 0}));
    assert_false(pra__str_starts_with(S("ab"), S("abc")));
}

/* The definition, written the other way round: decode, then look at the value. */
static int valid_by_value(const uint8_t *p, size_t len)
{
    while (len > 0) {
        size_t n = p[0] < 0x80       ? 1
                   : p[0] >> 5 == 6  ? 2
                   : p[0] >> 4 == 14 ? 3
                   : p[0] >> 3 == 30 ? 4
                                     : 0;
        static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
        if (n == 0 || n > len)
            return 0;
        uint32_t value = n == 1 ? p[0] : p[0] & (0x7fu >> n);
        for (size_t i = 1; i < n; i++) {
            if (p[i] >> 6 != 2)
                return 0;
            value = value << 6 | (p[i] & 0x3fu);
        }
        if (value < least[n] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
            return 0;
        p += n;
        len -= n;
    }
    return 1;
}

static void utf8_agrees_with_the_definition(void **state)
{
    (void)state;
    uint8_t text[12] = "abcdefgh";
    static const uint8_t edges[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf};
    size_t n = sizeof(edges);
    for (unsigned lead = 0; lead < 256; lead++)
        for (size_t i = 0; i < n * n * n; i++)
            for (size_t at = 0; at <= 8; at += 4) {
                uint8_t *p = text + at;
                p[0] = (uint8_t)lead;
                p[1] = edges[i % n];
                p[2] = edges[i / n % n];
                p[3] = edges[i / n / n];
                pra_str s = {(char *)text, at + 4};
                assert_int_equal(pra__utf8_valid(s), valid_by_value(text, at + 4));
                if (at == 0)
                    for (s.len = 0; s.len < 4; s.len++)
                        assert_int_equal(pra__utf8_valid(s), valid_by_value(text, s.len));
                memcpy(text, "abcdefgh", 8);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(compare_orders_bytes_as_unsigned),
                                       cmocka_unit_test(utf8_agrees_with_the_definition)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
