/* SPDX-License-Identifier: Apache-2.0 */
#include "message/chunk_layout.h"

int pra__schema_known(int64_t schema)
{
    return schema == PRA__SCHEMA_CUSTOM || (schema >= -9 && schema <= 52);
}

/* A power of two from 2^-243 to 2^10 takes one byte: its exponent, as that of 0.5 · 2^e, plus 243.
 * Byte 0 is zero, byte 255 stands before any other number. */
enum { FIRST_EXPONENT = 1022 - 243 }; /* of IEEE 754, for byte 0 */

static void put_zero_threshold(struct pra__bit_writer *w, const double *threshold)
{
    uint64_t bits = pra__bits_of(threshold);
    uint64_t exponent = bits >> 52; /* with the sign on top of it */
    int power = (bits & ((UINT64_C(1) << 52) - 1)) == 0;
    if (*threshold == 0) {
        pra__put_bits(w, 0, 8);
    } else if (power && exponent > FIRST_EXPONENT && exponent < FIRST_EXPONENT + 255) {
        pra__put_bits(w, exponent - FIRST_EXPONENT, 8);
    } else {
        pra__put_bits(w, 255, 8);
        pra__put_bits64(w, bits);
    }
}

double pra__get_zero_threshold(struct pra__bit_reader *r)
{
    uint64_t byte = pra__get_bits(r, 8);
    if (byte == 0)
        return 0;
    return pra__double_of(byte == 255 ? pra__get_many_bits(r, 64) : (byte + FIRST_EXPONENT) << 52);
}

/* Thousandths up to 33,554.430 take at most four bytes; 0 stands before any other number. */
static void put_bound(struct pra__bit_writer *w, const double *bound)
{
    double thousandths = *bound * 1000;
    if (thousandths >= 0 && thousandths <= 33554430) {
        uint64_t whole = (uint64_t)(thousandths + 0.5);
        if ((double)whole / 1000 == *bound) {
            pra__put_varbit_unsigned(w, whole + 1);
            return;
        }
    }
    pra__put_bits(w, 0, 1);
    pra__put_bits64(w, pra__bits_of(bound));
}

double pra__get_bound(struct pra__bit_reader *r)
{
    uint64_t v = pra__get_varbit_unsigned(r);
    return v ? (double)(v - 1) / 1000 : pra__double_of(pra__get_many_bits(r, 64));
}

void pra__put_layout(struct pra__bit_writer *w, const struct pra__histogram_view *v)
{
    put_zero_threshold(w, &v->h.zero_threshold);
    pra__put_varbit(w, v->h.schema);
    for (int side = 0; side < 2; side++) {
        pra__put_varbit_unsigned(w, v->span_count[side]);
        for (size_t i = 0; i < v->span_count[side]; i++) {
            pra__put_varbit_unsigned(w, v->spans[side][i].length);
            pra__put_varbit(w, v->spans[side][i].offset);
        }
    }
    if (v->h.schema != PRA__SCHEMA_CUSTOM)
        return;
    pra__put_varbit_unsigned(w, v->bound_count);
    for (size_t i = 0; i < v->bound_count; i++)
        put_bound(w, &v->bounds[i]);
}
