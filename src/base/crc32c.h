/*
 * CRC-32C (Castagnoli; RFC 3720, appendix B.4), as PostgreSQL's backup_manifest has it. The
 * processor's own instruction where there is one, else tables.
 *
 *     uint32_t crc = 0;
 *     crc = crc32c_add(crc, data, length);     as often as needed; always the CRC up to there
 */
#ifndef PGCAIRN_BASE_CRC32C_H
#define PGCAIRN_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c_add(uint32_t crc, const void *data, size_t length);

/* The same by tables alone; for the test that compares the two. */
uint32_t crc32c_add_by_tables(uint32_t crc, const void *data, size_t length);

#endif
