/*
 * Who calls: the name under which what somebody ordered is recorded.
 */
#ifndef PGCAIRN_COMMAND_PERSON_H
#define PGCAIRN_COMMAND_PERSON_H

enum { PERSON_MAX = 256 };

/* The person behind sudo, else the user, else "uid N". Returns name. */
char *person_name(char name[PERSON_MAX]);

#endif
