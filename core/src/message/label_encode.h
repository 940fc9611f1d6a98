/* SPDX-License-Identifier: Apache-2.0 */
/* A label as a field of a series or an exemplar. */
#ifndef PRA_MESSAGE_LABEL_ENCODE_H
#define PRA_MESSAGE_LABEL_ENCODE_H

#include <pra_proto/remote.pb.h>

#include "wire/tlv.h"

static inline size_t pra__label_size(size_t name_len, size_t value_len)
{
    return pra__string_field_size(prom_Label_name_tag, name_len) +
           pra__string_field_size(prom_Label_value_tag, value_len);
}

static inline size_t pra__label_field_size(uint32_t number, size_t name_len, size_t value_len)
{
    return pra__bytes_field_size(number, pra__label_size(name_len, value_len));
}

static inline uint8_t *pra__put_label_field(uint8_t *p, uint32_t number, pra_str name,
                                            pra_str value)
{
    p = pra__put_head(p, number, pra__label_size(name.len, value.len));
    p = pra__put_string_field(p, prom_Label_name_tag, name.ptr, name.len);
    return pra__put_string_field(p, prom_Label_value_tag, value.ptr, value.len);
}

#endif
