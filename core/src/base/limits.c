/* SPDX-License-Identifier: Apache-2.0 */
#include "base/limits.h"

#include <string.h>

#define MIB (UINT64_C(1) << 20)

int pra__opts_copy(void *dst, size_t known, const void *src, size_t src_size)
{
    if (src_size < sizeof(size_t))
        return PRA_ERR_INVALID_ARG;
    const unsigned char *bytes = src;
    for (size_t i = known; i < src_size; i++)
        if (bytes[i])
            return PRA_ERR_UNSUPPORTED_OPTION;
    memset(dst, 0, known);
    memcpy(dst, src, src_size < known ? src_size : known);
    return PRA_OK;
}

int pra__struct_out(void *out, const void *src, size_t src_size)
{
    size_t size;
    memcpy(&size, out, sizeof(size));
    if (size < sizeof(size))
        return PRA_ERR_INVALID_ARG;
    char *to = out;
    size_t known = size < src_size ? size : src_size;
    memcpy(to + sizeof(size), (const char *)src + sizeof(size), known - sizeof(size));
    memset(to + known, 0, size - known);
    return PRA_OK;
}

static void or_default(uint64_t *field, uint64_t value, uint64_t most)
{
    if (*field == 0)
        *field = value;
    if (*field > most)
        *field = most;
}

int pra__limits_resolve(const pra_limits *limits, pra_limits *out)
{
    *out = (pra_limits){.size = sizeof(*out)};
    if (limits) {
        int rc = pra__opts_copy(out, sizeof(*out), limits, limits->size);
        if (rc)
            return rc;
        out->size = sizeof(*out);
    }
    const uint64_t any = PRA_UNLIMITED;
    or_default(&out->max_body_bytes, 32 * MIB, any);
    or_default(&out->max_decoded_bytes, 32 * MIB, UINT32_MAX);
    or_default(&out->max_memory_bytes, 128 * MIB, any);
    or_default(&out->max_labels_per_series, 1000, any);
    or_default(&out->max_label_name_bytes, MIB / 16, any);
    or_default(&out->max_label_value_bytes, MIB, any);
    or_default(&out->max_queries, 100, any);
    or_default(&out->max_matchers, 1000, any);
    or_default(&out->max_pattern_bytes, MIB / 16, any);
    or_default(&out->max_pattern_memory, 8 * MIB, INT64_MAX);
    or_default(&out->max_read_samples, 50000000, any);
    or_default(&out->max_response_bytes, 256 * MIB, UINT32_MAX);
    or_default(&out->retain_bytes, 16 * MIB, any);
    or_default(&out->max_frame_bytes, MIB, any);
    or_default(&out->max_frame_read_bytes, 50000000, UINT32_MAX);
    return PRA_OK;
}

static int init(void *opts, size_t size)
{
    if (!opts || size < sizeof(size_t))
        return PRA_ERR_INVALID_ARG;
    memset(opts, 0, size);
    memcpy(opts, &size, sizeof(size));
    return PRA_OK;
}

int pra_limits_init(pra_limits *limits, size_t size)
{
    return init(limits, size);
}

int pra_handler_opts_init(pra_handler_opts *opts, size_t size)
{
    return init(opts, size);
}
