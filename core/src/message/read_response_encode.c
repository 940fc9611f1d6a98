/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include <pra_proto/remote.pb.h>

#include "base/error.h"
#include "message/series_sink.h"
#include "wire/tlv.h"

int pra_read_response_encode(const pra_series_sink *const *sinks, size_t count, pra_buffer *out,
                             pra_error *err)
{
    uint64_t total = 0;
    if (!out || (count && !sinks))
        return PRA_ERR_INVALID_ARG;
    for (size_t i = 0; i < count; i++)
        total += pra__bytes_field_size(prom_ReadResponse_results_tag, sinks[i]->series.len);
    if (total > UINT32_MAX)
        return pra_error_set_cstr(err, PRA_ERR_RESPONSE_TOO_LARGE,
                                  "the answer is larger than a snappy block can hold");
    if (pra__buffer_reserve(out, (size_t)total))
        return pra__nomem(err);
    for (size_t i = 0; i < count; i++) {
        const pra_buffer *series = &sinks[i]->series;
        uint8_t *p =
            pra__put_head(out->data + out->len, prom_ReadResponse_results_tag, series->len);
        if (series->len)
            memcpy(p, series->data, series->len);
        out->len = (size_t)(p + series->len - out->data);
    }
    return PRA_OK;
}
