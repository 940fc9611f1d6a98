/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRA_WIRE_CRC32C_H
#define PRA_WIRE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* CRC-32C (Castagnoli) of data; with the processor's instruction where it has one. */
uint32_t pra__crc32c(const void *data, size_t len);
/* The same by tables. */
uint32_t pra__crc32c_portable(const void *data, size_t len);

#endif
