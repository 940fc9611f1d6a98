/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of a streamed answer: uvarint of the length, CRC-32C of the payload (4 bytes, big-endian),
 * payload. */
#ifndef PRA_WIRE_FRAME_H
#define PRA_WIRE_FRAME_H

#include "pra.h"

enum { PRA__FRAME_CRC_BYTES = 4, PRA__FRAME_HEAD_MOST = 10 + PRA__FRAME_CRC_BYTES };

/* Bytes of the head of a payload of len bytes. */
size_t pra__frame_head_size(size_t len);

/* Writes the head of a payload. Returns the end of what was written. */
uint8_t *pra__frame_head(uint8_t *p, const void *payload, size_t len);

/* Reads the head at the start of data. Returns PRA_OK; PRA_DONE: more bytes are needed to tell;
 * PRA_ERR_FRAME: the length is malformed or 0. */
int pra__frame_read_head(const uint8_t *data, size_t len, size_t *head_size, uint64_t *payload_size,
                         uint32_t *crc);

#endif
