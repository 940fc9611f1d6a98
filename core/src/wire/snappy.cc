// SPDX-License-Identifier: Apache-2.0
// The only file that knows google/snappy. Its compressor takes working memory from the C++ heap;
// everything else is memory of the caller.
#include "wire/snappy.h"

#include <snappy.h>

#include <cinttypes>
#include <new>

extern "C" {
#include "base/buffer.h"
#include "base/error.h"
#include "base/limits.h"
}

// The length is a varint of at most 5 bytes and 32 bits. Returns its number of bytes, or 0.
static size_t read_length(const uint8_t *data, size_t len, uint32_t *out)
{
    uint64_t v = 0;
    for (size_t i = 0; i < len && i < 5; i++) {
        v |= static_cast<uint64_t>(data[i] & 0x7F) << (7 * i);
        if (data[i] < 0x80) {
            *out = static_cast<uint32_t>(v);
            return v > UINT32_MAX ? 0 : i + 1;
        }
    }
    return 0;
}

int pra__check_decoded(size_t len, const pra_limits *limits, pra_error *err)
{
    if (len <= limits->max_decoded_bytes)
        return PRA_OK;
    return pra__error(err, PRA_ERR_DECODED_TOO_LARGE, 0,
                      "message of %zu bytes is over max_decoded_bytes (%" PRIu64
                      "; raise it with --limit.decoded-size)",
                      len, limits->max_decoded_bytes);
}

int pra__snappy_length(const void *data, size_t len, const pra_limits *limits, size_t *out,
                       pra_error *err)
{
    uint32_t declared = 0;
    size_t head = read_length(static_cast<const uint8_t *>(data), len, &declared);
    if (head == 0)
        return pra__error(err, PRA_ERR_SNAPPY, 0,
                          "not a snappy block: no valid length at its beginning");
    // The densest element is a copy: 3 bytes that stand for 64.
    if (static_cast<uint64_t>(declared) * 3 > static_cast<uint64_t>(len - head) * 64)
        return pra__error(err, PRA_ERR_SNAPPY_RATIO, 0,
                          "snappy block of %zu bytes declares %" PRIu32
                          " bytes, more than it can hold",
                          len, declared);
    int rc = pra__check_decoded(declared, limits, err);
    if (rc == PRA_OK)
        *out = declared;
    return rc;
}

int pra__snappy_uncompress(const void *data, size_t len, void *dst, size_t dst_len, pra_error *err)
{
    const char *block = static_cast<const char *>(data);
    size_t declared = 0;
    char none;
    if (snappy::GetUncompressedLength(block, len, &declared) && declared == dst_len &&
        snappy::RawUncompress(block, len, dst_len ? static_cast<char *>(dst) : &none))
        return PRA_OK;
    return pra__error(err, PRA_ERR_SNAPPY, 0, "snappy block of %zu bytes is corrupt", len);
}

int pra_snappy_uncompress(const void *data, size_t len, const pra_limits *limits, pra_buffer *out,
                          pra_error *err)
{
    if ((!data && len) || !out)
        return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG, "data or out is missing");
    pra_limits l;
    size_t declared = 0;
    int rc = pra__limits_resolve(limits, &l);
    if (rc)
        return pra_error_set_cstr(err, rc, "limits are not valid");
    rc = pra__snappy_length(data, len, &l, &declared, err);
    if (rc)
        return rc;
    if (pra__buffer_reserve(out, declared))
        return pra__nomem(err);
    rc = pra__snappy_uncompress(data, len, out->data + out->len, declared, err);
    if (rc == PRA_OK)
        out->len += declared;
    return rc;
}

int pra_snappy_compress(const void *data, size_t len, pra_buffer *out, pra_error *err)
{
    if ((!data && len) || !out || len > UINT32_MAX)
        return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG,
                                  "data or out is missing, or data is 4 GiB or more");
    if (pra__buffer_reserve(out, snappy::MaxCompressedLength(len)))
        return pra__nomem(err);
    try {
        size_t written = 0;
        snappy::RawCompress(static_cast<const char *>(data), len,
                            reinterpret_cast<char *>(out->data + out->len), &written);
        out->len += written;
    } catch (const std::bad_alloc &) {
        return pra__nomem(err);
    }
    return PRA_OK;
}
