"""Ways in: settings, the container, the web server, the command line, the clients."""
