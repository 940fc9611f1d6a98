/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/crc32c.h"

#include "wire/tlv.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define HAVE_INSTRUCTION 1
#include <nmmintrin.h>
#endif

/* table[k][b]: what byte b leaves behind when k bytes of zero have followed it. It is linear in b,
 * so eight numbers make a row, and nothing has to be set up when the program runs. */
#define BIT(b, n, c) ((b) >> (n)&1 ? UINT32_C(c) : 0)
#define ENTRY(b, c0, c1, c2, c3, c4, c5, c6, c7)                                                   \
    BIT(b, 0, c0) ^ BIT(b, 1, c1) ^ BIT(b, 2, c2) ^ BIT(b, 3, c3) ^ BIT(b, 4, c4) ^                \
        BIT(b, 5, c5) ^ BIT(b, 6, c6) ^ BIT(b, 7, c7)
#define ENTRIES4(b, ...)                                                                           \
    ENTRY((b), __VA_ARGS__), ENTRY((b) + 1, __VA_ARGS__), ENTRY((b) + 2, __VA_ARGS__),             \
        ENTRY((b) + 3, __VA_ARGS__)
#define ENTRIES16(b, ...)                                                                          \
    ENTRIES4((b), __VA_ARGS__), ENTRIES4((b) + 4, __VA_ARGS__), ENTRIES4((b) + 8, __VA_ARGS__),    \
        ENTRIES4((b) + 12, __VA_ARGS__)
#define ENTRIES64(b, ...)                                                                          \
    ENTRIES16((b), __VA_ARGS__), ENTRIES16((b) + 16, __VA_ARGS__),                                 \
        ENTRIES16((b) + 32, __VA_ARGS__), ENTRIES16((b) + 48, __VA_ARGS__)
#define TABLE(...)                                                                                 \
    {                                                                                              \
        ENTRIES64(0, __VA_ARGS__), ENTRIES64(64, __VA_ARGS__), ENTRIES64(128, __VA_ARGS__),        \
            ENTRIES64(192, __VA_ARGS__)                                                            \
    }

static const uint32_t table[8][256] = {
    TABLE(0xf26b8303, 0xe13b70f7, 0xc79a971f, 0x8ad958cf, 0x105ec76f, 0x20bd8ede, 0x417b1dbc,
          0x82f63b78),
    TABLE(0x13a29877, 0x274530ee, 0x4e8a61dc, 0x9d14c3b8, 0x3fc5f181, 0x7f8be302, 0xff17c604,
          0xfbc3faf9),
    TABLE(0xa541927e, 0x4f6f520d, 0x9edea41a, 0x38513ec5, 0x70a27d8a, 0xe144fb14, 0xc76580d9,
          0x8b277743),
    TABLE(0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6, 0xe964b13d, 0xd725148b, 0xaba65fe7,
          0x52a0c93f),
    TABLE(0x38116fac, 0x7022df58, 0xe045beb0, 0xc5670b91, 0x8f2261d3, 0x1ba8b557, 0x37516aae,
          0x6ea2d55c),
    TABLE(0xef306b19, 0xdb8ca0c3, 0xb2f53777, 0x6006181f, 0xc00c303e, 0x85f4168d, 0x0e045beb,
          0x1c08b7d6),
    TABLE(0x68032cc8, 0xd0065990, 0xa5e0c5d1, 0x4e2dfd53, 0x9c5bfaa6, 0x3d5b83bd, 0x7ab7077a,
          0xf56e0ef4),
    TABLE(0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da, 0x847609b4, 0x0d006599, 0x1a00cb32,
          0x34019664),
};

static uint32_t by_table(uint32_t crc, const uint8_t *p, size_t len)
{
    for (; len >= 8; len -= 8, p += 8) {
        uint64_t word = pra__load64(p) ^ crc;
        crc = 0;
        for (unsigned k = 0; k < 8; k++)
            crc ^= table[7 - k][word >> (8 * k) & 0xFF];
    }
    for (; len; len--)
        crc = crc >> 8 ^ table[0][(crc ^ *p++) & 0xFF];
    return crc;
}

#ifdef HAVE_INSTRUCTION
__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const uint8_t *p,
                                                                 size_t len)
{
    uint64_t wide = crc;
    for (; len >= 8; len -= 8, p += 8)
        wide = _mm_crc32_u64(wide, pra__load64(p));
    crc = (uint32_t)wide;
    for (; len; len--)
        crc = _mm_crc32_u8(crc, *p++);
    return crc;
}
#endif

uint32_t pra__crc32c_portable(const void *data, size_t len)
{
    return ~by_table(UINT32_MAX, data, len);
}

uint32_t pra__crc32c(const void *data, size_t len)
{
#ifdef HAVE_INSTRUCTION
    if (__builtin_cpu_supports("sse4.2"))
        return ~by_instruction(UINT32_MAX, data, len);
#endif
    return pra__crc32c_portable(data, len);
}
