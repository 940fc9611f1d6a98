/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/bits.h"

/* Bits of a varbit integer by the ones before it. */
static const uint8_t varbit_bits[9] = {0, 3, 6, 9, 12, 18, 25, 56, 64};
enum { MOST_ONES = 8 };

static void put_varbit(struct pra__bit_writer *w, uint64_t v, unsigned ones)
{
    if (ones == 0) {
        pra__put_bits(w, 0, 1);
        return;
    }
    unsigned count = varbit_bits[ones];
    unsigned prefix_bits = ones < MOST_ONES ? ones + 1 : MOST_ONES;
    uint64_t prefix = ((UINT64_C(1) << ones) - 1) << (prefix_bits - ones);
    if (count <= 25) {
        pra__put_code(w, prefix, prefix_bits, v, count);
        return;
    }
    pra__put_bits(w, prefix, prefix_bits);
    pra__put_many_bits(w, count < 64 ? v & ((UINT64_C(1) << count) - 1) : v, count);
}

void pra__put_varbit(struct pra__bit_writer *w, int64_t v)
{
    unsigned ones = v != 0;
    while (ones && ones < MOST_ONES && !pra__fits(v, varbit_bits[ones]))
        ones++;
    put_varbit(w, (uint64_t)v, ones);
}

void pra__put_varbit_unsigned(struct pra__bit_writer *w, uint64_t v)
{
    unsigned ones = v != 0;
    while (ones && ones < MOST_ONES && v >> varbit_bits[ones])
        ones++;
    put_varbit(w, v, ones);
}

uint64_t pra__get_varint_bits(struct pra__bit_reader *r)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        uint64_t byte = pra__get_bits(r, 8);
        if (shift == 63 && byte > 1)
            break;
        v |= (byte & 0x7F) << shift;
        if (byte < 0x80)
            return v;
    }
    return pra__bits_malformed(r, "a varint of more than 64 bits");
}

int64_t pra__get_varbit(struct pra__bit_reader *r)
{
    unsigned ones = pra__get_ones(r, MOST_ONES);
    if (ones == 0)
        return 0;
    if (ones == MOST_ONES)
        return (int64_t)pra__get_many_bits(r, 64);
    return pra__get_fitted(r, varbit_bits[ones]);
}

uint64_t pra__get_varbit_unsigned(struct pra__bit_reader *r)
{
    unsigned ones = pra__get_ones(r, MOST_ONES);
    return ones ? pra__get_many_bits(r, varbit_bits[ones]) : 0;
}
