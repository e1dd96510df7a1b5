/*
 * Lets a linux.uml that was linked with a newer C library run with the one of
 * Debian 12: it calls strtol and strtoul by the names that the headers of glibc
 * 2.38 give them. Preloaded (ld.so(8), LD_PRELOAD); uml.go does the rest.
 */
#include <stdlib.h>

long __isoc23_strtol(const char *text, char **end, int base)
{
	return strtol(text, end, base);
}

unsigned long __isoc23_strtoul(const char *text, char **end, int base)
{
	return strtoul(text, end, base);
}
