# Everything has a default but `app`. What can be set is in the README.
app = "hello"
