/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

/* Bytes of the sequence at p, 0 if it is none. The bounds of the second byte exclude what is
 * overlong, a surrogate, or too large. */
static size_t sequence(const uint8_t *p, size_t left)
{
    uint8_t lead = p[0];
    size_t len = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (len < 2)
        return len;
    if (lead > 0xF4 || left < len)
        return 0;
    uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    return len;
}

int pra__utf8_valid(pra_str s)
{
    const uint8_t *p = (const uint8_t *)s.ptr;
    size_t left = s.len;
    while (left > 0) {
        uint64_t word;
        if (left >= sizeof(word)) {
            memcpy(&word, p, sizeof(word));
            if ((word & UINT64_C(0x8080808080808080)) == 0) {
                p += sizeof(word);
                left -= sizeof(word);
                continue;
            }
        }
        size_t len = sequence(p, left);
        if (len == 0)
            return 0;
        p += len;
        left -= len;
    }
    return 1;
}

uint32_t pra__utf8_decode(pra_str s, size_t *size)
{
    const uint8_t *p = (const uint8_t *)s.ptr;
    const size_t len = sequence(p, s.len);
    *size = len ? len : 1;
    if (len < 2)
        return len ? p[0] : 0xFFFD;
    uint32_t c = p[0] & (0xFFu >> (len + 1));
    for (size_t i = 1; i < len; i++)
        c = c << 6 | (p[i] & 0x3F);
    return c;
}

size_t pra__utf8_encode(char *dst, uint32_t c)
{
    const size_t len = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = len - 1; i > 0; i--, c >>= 6)
        dst[i] = (char)(0x80 | (c & 0x3F));
    dst[0] = (char)(lead[len] | c);
    return len;
}
