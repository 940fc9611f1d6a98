/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/frame.h"

#include "wire/crc32c.h"
#include "wire/tlv.h"

size_t pra__frame_head_size(size_t len)
{
    return pra__varint_size(len) + PRA__FRAME_CRC_BYTES;
}

uint8_t *pra__frame_head(uint8_t *p, const void *payload, size_t len)
{
    uint32_t crc = pra__crc32c(payload, len);
    p = pra__put_varint(p, len);
    for (unsigned shift = 32; shift; shift -= 8)
        *p++ = (uint8_t)(crc >> (shift - 8));
    return p;
}

/* Go's uvarint: at most 64 bits. Returns its bytes, 0 if it goes on behind len, -1 if malformed. */
static int read_uvarint(const uint8_t *data, size_t len, uint64_t *out)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < 10; i++) {
        if (i == len)
            return 0;
        if (i == 9 && data[i] > 1)
            break;
        v |= (uint64_t)(data[i] & 0x7F) << (7 * i);
        if (data[i] < 0x80) {
            *out = v;
            return (int)i + 1;
        }
    }
    return -1;
}

int pra__frame_read_head(const uint8_t *data, size_t len, size_t *head_size, uint64_t *payload_size,
                         uint32_t *crc)
{
    int n = read_uvarint(data, len, payload_size);
    if (n < 0 || (n > 0 && *payload_size == 0))
        return PRA_ERR_FRAME;
    *head_size = (size_t)n + PRA__FRAME_CRC_BYTES;
    if (n == 0 || len < *head_size)
        return PRA_DONE;
    *crc = 0;
    for (int i = 0; i < PRA__FRAME_CRC_BYTES; i++)
        *crc = *crc << 8 | data[n + i];
    return PRA_OK;
}
