"""The explorer's server: a site's files with strict headers, news as they happen, and complaints of those who answer for nodes.

It adds nothing that must be believed: every number on the pages follows from files that anyone can make anew.
"""
