module github.com/ingot-build/ingot/service

go 1.24
