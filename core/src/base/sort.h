/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRA_BASE_SORT_H
#define PRA_BASE_SORT_H

#include <stddef.h>

enum { PRA__SORT_MAX_SIZE = 64 };

/* Heapsort of count elements of size bytes (at most PRA__SORT_MAX_SIZE): takes no memory, as libc's
 * qsort may, and knows no bad case. What is in order already costs count - 1 comparisons. Not
 * stable. compare is as for qsort; arg is handed to it. */
void pra__sort(void *items, size_t count, size_t size,
               int (*compare)(const void *a, const void *b, const void *arg), const void *arg);

#endif
