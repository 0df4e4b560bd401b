"""One folder per outside thing; adapters do not know each other.

Owns every use of a vendor's library. Must never decide anything the domain decides.
"""
