// Package supervised is a sample: the commands below it show that a plugin under load is
// killed and replaced while its callers go on.
package supervised
